// The live network that the tests run against: the description that `hansa up` writes.
//
// Reads HANSA_NETWORK (path of network.json) and CAST (path of cast's program).

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const described = process.env.HANSA_NETWORK;
if (!described) {
  throw new Error('HANSA_NETWORK must name the network.json of a running network: cargo xtask up --dir DIR');
}

const network = JSON.parse(readFileSync(described, 'utf8'));

export const chainId = network.chainId;

/** The founding members, in the order of their dcIds: { name, dcId, rpc, ws, account }. */
export const members = network.members;

/** A member's development account key, 0x-prefixed. */
export function accountKey(member) {
  const text = readFileSync(member.accountKeyFile, 'utf8').trim();
  return text.startsWith('0x') ? text : `0x${text}`;
}

export const cast =
  process.env.CAST ?? fileURLToPath(new URL('../contracts/node_modules/.bin/cast', import.meta.url));

export const REGISTRY = '0x0000000000000000000000000000000000001001';

/** What the tests read from the registry. */
export const registryAbi = [
  'function dcIdOf(address account) view returns (uint32)',
  'function memberCount() view returns (uint256)',
];

/**
 * A contract that stores the first word of its calldata in slot 0 and emits it as an anonymous log's one topic.
 * Runtime: CALLDATALOAD(0) DUP1 SSTORE(0) LOG1(0, 0) STOP.
 */
export const NOTEBOOK = '0x600d8060093d393df36000358060005560006000a100';

/** A 32-byte word from a small number. */
export const word = (number) => `0x${number.toString(16).padStart(64, '0')}`;
