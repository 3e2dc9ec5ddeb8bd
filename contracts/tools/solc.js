#!/usr/bin/env node
// Makes the npm package `solc` (the compiler as WebAssembly) look like the native program that forge expects.
// It answers `--version` and `--standard-json`; it does not resolve imports: forge sends every source's text.
'use strict';

const solc = require('solc');

function version() {
  // forge parses the last line; the native compiler's platform suffix is part of the expected form.
  const plain = solc.version().replace('.Emscripten.clang', '');
  return `solc, the solidity compiler commandline interface\nVersion: ${plain}.Linux.g++\n`;
}

if (process.argv.includes('--version')) {
  process.stdout.write(version());
} else if (process.argv.includes('--standard-json')) {
  const chunks = [];
  process.stdin.on('data', (chunk) => chunks.push(chunk));
  // process.stdout.write, because a synchronous write truncates its output on a pipe.
  process.stdin.on('end', () => process.stdout.write(solc.compile(Buffer.concat(chunks).toString('utf8'))));
} else {
  process.stderr.write('solc.js understands --version and --standard-json only\n');
  process.exitCode = 1;
}
