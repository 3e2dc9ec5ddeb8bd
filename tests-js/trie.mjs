// Verifies Merkle-Patricia proofs (EIP-1186) with nothing but keccak-256 and RLP.

import { decodeRlp, encodeRlp, getBytes, keccak256, stripZerosLeft, toBeHex } from 'ethers';

const nibblesOf = (hex) => [...hex.slice(2)].map((digit) => parseInt(digit, 16));

/** A leaf's or extension's path, and whether it ends there. */
function compact(hex) {
  const nibbles = nibblesOf(hex);
  const odd = (nibbles[0] & 1) === 1;
  return { leaf: (nibbles[0] & 2) === 2, path: nibbles.slice(odd ? 1 : 2) };
}

/** The value that `proof` shows under `key` (hashed here) in the trie with this root; null when it shows absence. */
export function proven(root, key, proof) {
  let path = nibblesOf(keccak256(key));
  let expected = root;
  for (const encoded of proof) {
    if (getBytes(encoded).length >= 32 && keccak256(encoded) !== expected) throw new Error('a node is not the one referred to');
    let node = decodeRlp(encoded);
    for (;;) {
      if (node.length === 17) {
        if (path.length === 0) return node[16] === '0x' ? null : node[16];
        const next = node[path[0]];
        path = path.slice(1);
        if (next === '0x') return null;
        if (Array.isArray(next)) { node = next; continue; }
        expected = next;
        break;
      }
      const { leaf, path: prefix } = compact(node[0]);
      if (prefix.some((nibble, i) => nibble !== path[i])) return null;
      path = path.slice(prefix.length);
      if (leaf) return path.length === 0 ? node[1] : null;
      if (Array.isArray(node[1])) { node = node[1]; continue; }
      expected = node[1];
      break;
    }
  }
  return null;
}

const quantity = (value) => (BigInt(value) === 0n ? '0x' : stripZerosLeft(toBeHex(BigInt(value))));

/** An account's leaf, as the state trie holds it. */
export const accountLeaf = (proof) =>
  encodeRlp([quantity(proof.nonce), quantity(proof.balance), proof.storageHash, proof.codeHash]);

/** A slot's leaf, as the storage trie holds it. */
export const slotLeaf = (value) => encodeRlp(quantity(value));


