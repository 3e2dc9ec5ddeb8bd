// A node's JSON-RPC as viem, ethers and cast use it, against a live network (see network.mjs).

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { AbiCoder, Contract, JsonRpcProvider, Wallet, WebSocketProvider, keccak256 } from 'ethers';
import { createPublicClient, createWalletClient, defineChain, http, parseAbi, webSocket } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';

import { NOTEBOOK, REGISTRY, accountKey, cast, chainId, members, registryAbi, word } from './network.mjs';
import { accountLeaf, proven, slotLeaf } from './trie.mjs';

const PATIENCE = 20_000;
const [first, second, third, fourth] = members;

const chain = defineChain({
  id: chainId,
  name: 'Hansa',
  nativeCurrency: { name: 'none', symbol: 'NONE', decimals: 18 },
  rpcUrls: { default: { http: [first.rpc], webSocket: [first.ws] } },
});

const viem = createPublicClient({ chain, transport: http(first.rpc), pollingInterval: 50 });

const ethersAt = (url) => {
  const provider = new JsonRpcProvider(url, chainId, { staticNetwork: true, cacheTimeout: -1 });
  provider.pollingInterval = 50;
  return provider;
};

const mappingSlot = (account) =>
  keccak256(AbiCoder.defaultAbiCoder().encode(['address', 'uint256'], [account, 0]));

/** Runs cast with the member's URL and answers its trimmed output. */
async function run(member, ...args) {
  const { stdout } = await promisify(execFile)(cast, [args[0], '--rpc-url', member.rpc, ...args.slice(1)], { timeout: PATIENCE });
  return stdout.trim();
}

/** Waits for an event source to hand over what `accept` likes. */
function awaited(subscribe, accept) {
  let stop = () => {};
  const seen = new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('nothing came')), PATIENCE);
    const done = (settle) => (value) => { clearTimeout(timer); settle(value); };
    stop = subscribe((value) => { if (accept(value)) done(resolve)(value); }, done(reject));
  });
  return seen.finally(() => stop());
}

/** The registry's slot of a member's own account: its dcId, and the role of an owner in the next 32 bits. */
const authority = (member) => BigInt(member.dcId) | (1n << 32n);

test('viem: chain, blocks, fees', async () => {
  assert.equal(await viem.getChainId(), chainId);
  const head = await viem.getBlock();
  assert.ok(head.number > 0n);
  assert.equal(head.baseFeePerGas, 0n);
  const parent = await viem.getBlock({ blockHash: head.parentHash, includeTransactions: true });
  assert.equal(parent.number, head.number - 1n);
  assert.equal((await viem.getBlock({ blockNumber: 0n })).number, 0n);
  await assert.rejects(viem.getBlock({ blockNumber: head.number + 1_000_000n }), /could not be found/);
  assert.equal(await viem.getGasPrice(), 0n);
  const fees = await viem.getFeeHistory({ blockCount: 4, rewardPercentiles: [50] });
  assert.equal(fees.baseFeePerGas.length, fees.gasUsedRatio.length + 1);
});

test('viem: deploy, send, receipt, logs, storage', async () => {
  const account = privateKeyToAccount(accountKey(first));
  assert.equal(account.address.toLowerCase(), first.account.toLowerCase());
  const wallet = createWalletClient({ account, chain, transport: http(first.rpc) });
  const deployment = await viem.waitForTransactionReceipt({
    hash: await wallet.deployContract({ abi: [], bytecode: NOTEBOOK }),
  });
  assert.equal(deployment.status, 'success');
  assert.equal(deployment.effectiveGasPrice, 0n);
  const to = deployment.contractAddress;
  const hash = await wallet.sendTransaction({ to, data: word(42) });
  const receipt = await viem.waitForTransactionReceipt({ hash });
  assert.equal(receipt.from, account.address.toLowerCase());
  assert.deepEqual(receipt.logs.map((log) => log.topics), [[word(42)]]);
  const logs = await viem.request({
    method: 'eth_getLogs',
    params: [{ address: to, topics: [word(42)], fromBlock: '0x0', toBlock: 'latest' }],
  });
  assert.deepEqual(logs.map((log) => log.transactionHash), [hash]);
  assert.equal(await viem.getStorageAt({ address: to, slot: '0x0' }), word(42));
  assert.equal((await viem.getTransaction({ hash })).blockHash, receipt.blockHash);
  assert.equal(await viem.getBalance({ address: account.address }), 0n);
});

test('viem: contract reads and polled filters', async () => {
  const abi = parseAbi(registryAbi);
  const dcId = await viem.readContract({ address: REGISTRY, abi, functionName: 'dcIdOf', args: [second.account] });
  assert.equal(dcId, second.dcId);
  const filter = await viem.createBlockFilter();
  const fresh = await awaited(
    (seen) => {
      const timer = setInterval(async () => seen(await viem.getFilterChanges({ filter })), 50);
      return () => clearInterval(timer);
    },
    (hashes) => hashes.length > 0,
  );
  assert.match(fresh[0], /^0x[0-9a-f]{64}$/);
  assert.equal(await viem.uninstallFilter({ filter }), true);
});

test('viem: subscriptions over WebSocket', async () => {
  const client = createPublicClient({ chain, transport: webSocket(first.ws) });
  const block = await awaited(
    (onBlock, onError) => client.watchBlocks({ onBlock, onError, emitMissed: false }),
    (seen) => seen.number > 0n,
  );
  assert.match(block.hash, /^0x[0-9a-f]{64}$/);
  (await client.transport.getRpcClient()).close();
});

test('ethers: send, wait, read, filter', async () => {
  const provider = ethersAt(second.rpc);
  const wallet = new Wallet(accountKey(second), provider);
  assert.equal((await provider.getNetwork()).chainId, BigInt(chainId));
  const deployed = await (await wallet.sendTransaction({ data: NOTEBOOK })).wait();
  const receipt = await (await wallet.sendTransaction({ to: deployed.contractAddress, data: word(7) })).wait();
  assert.equal(receipt.status, 1);
  const logs = await provider.getLogs({ address: deployed.contractAddress, fromBlock: deployed.blockNumber });
  assert.deepEqual(logs.map((log) => log.topics[0]), [word(7)]);
  const registry = new Contract(REGISTRY, registryAbi, provider);
  assert.equal(await registry.dcIdOf(third.account), BigInt(third.dcId));
  assert.ok((await registry.memberCount()) >= 4n);
  assert.equal(await provider.getTransactionCount(wallet.address, 'pending'), await wallet.getNonce('latest'));
  const block = await provider.getBlock(receipt.blockNumber, true);
  assert.ok(block.prefetchedTransactions.some((tx) => tx.hash === receipt.hash));
  provider.destroy();
});

test('ethers: blocks and logs over WebSocket', async () => {
  const provider = new WebSocketProvider(third.ws, chainId, { staticNetwork: true });
  const wallet = new Wallet(accountKey(third), ethersAt(third.rpc));
  const deployed = await (await wallet.sendTransaction({ data: NOTEBOOK })).wait();
  // Closing the connection ends the subscriptions; ending them first would race with it.
  const kept = () => {};
  const filter = { address: deployed.contractAddress, topics: [word(9)] };
  const log = awaited(
    (seen) => { provider.on(filter, seen); return kept; },
    () => true,
  );
  const height = awaited(
    (seen) => { provider.on('block', seen); return kept; },
    () => true,
  );
  assert.ok((await height) > 0);
  const sent = await wallet.sendTransaction({ to: deployed.contractAddress, data: word(9) });
  assert.equal((await log).transactionHash, sent.hash);
  await provider.destroy();
  wallet.provider.destroy();
});

test('a proof of a registry entry verifies against the block header', async () => {
  const provider = ethersAt(first.rpc);
  const slot = mappingSlot(fourth.account);
  // A proof is of the head, which may move before the header is read: its root is then another block's near by.
  const proof = await provider.send('eth_getProof', [REGISTRY, [slot], 'latest']);
  const entry = proof.storageProof[0];
  assert.equal(BigInt(entry.value), authority(fourth));
  assert.equal(proven(proof.storageHash, slot, entry.proof), slotLeaf(entry.value));
  const root = keccak256(proof.accountProof[0]);
  assert.equal(proven(root, REGISTRY, proof.accountProof), accountLeaf(proof));
  const head = await provider.getBlockNumber();
  const near = Array.from({ length: 64 }, (_, i) => head - i).filter((number) => number >= 0);
  const blocks = near.map((number) => provider.send('eth_getBlockByNumber', [`0x${number.toString(16)}`, false]));
  assert.ok((await Promise.all(blocks)).some((block) => block.stateRoot === root), 'a header commits to the root');
  provider.destroy();
});

test('an account that is not registered is told so', async () => {
  const provider = ethersAt(first.rpc);
  const stranger = Wallet.createRandom(provider);
  await assert.rejects(stranger.sendTransaction({ to: REGISTRY, gasLimit: 50_000 }), /not registered/);
  const wrongChain = await new Wallet(accountKey(first)).signTransaction({
    to: REGISTRY, gasLimit: 50_000, gasPrice: 0, nonce: 0, chainId: 1,
  });
  await assert.rejects(provider.send('eth_sendRawTransaction', [wrongChain]), /chain id/);
  provider.destroy();
});

test('cast: reading', async () => {
  const height = Number(await run(first, 'block-number'));
  assert.ok(height > 0);
  assert.equal(Number(await run(first, 'chain-id')), chainId);
  const block = JSON.parse(await run(first, 'block', String(height), '--json'));
  assert.equal(Number(block.number), height);
  assert.equal(await run(first, 'block', 'latest', '--field', 'baseFeePerGas'), '0');
  assert.equal(await run(first, 'call', REGISTRY, 'dcIdOf(address)(uint32)', second.account), String(second.dcId));
  assert.match(await run(first, 'code', REGISTRY), /^0x[0-9a-f]{100,}$/);
  assert.equal(BigInt(await run(first, 'storage', REGISTRY, mappingSlot(second.account))), authority(second));
  assert.equal(await run(first, 'balance', first.account), '0');
  assert.equal(await run(first, 'gas-price'), '0');
});

test('cast: send, receipt, logs, estimate', async () => {
  const key = accountKey(fourth);
  const created = JSON.parse(await run(fourth, 'send', '--json', '--private-key', key, '--create', NOTEBOOK));
  assert.equal(created.status, '0x1');
  const sent = JSON.parse(await run(fourth, 'send', created.contractAddress, word(11), '--json', '--private-key', key));
  assert.equal(sent.status, '0x1');
  const receipt = JSON.parse(await run(fourth, 'receipt', sent.transactionHash, '--json'));
  assert.equal(receipt.blockHash, sent.blockHash);
  const logs = JSON.parse(
    await run(fourth, 'logs', '--json', '--from-block', '0', '--address', created.contractAddress, word(11)),
  );
  assert.deepEqual(logs.map((log) => log.transactionHash), [sent.transactionHash]);
  assert.ok(Number(await run(fourth, 'estimate', created.contractAddress, word(12), '--from', fourth.account)) > 21_000);
  assert.ok(Number(await run(fourth, 'nonce', fourth.account)) >= 2);
});

test('cast: proof', async () => {
  const slot = mappingSlot(first.account);
  const proof = JSON.parse(await run(first, 'proof', REGISTRY, slot));
  const entry = proof.storageProof[0];
  assert.equal(BigInt(entry.value), authority(first));
  assert.equal(proven(proof.storageHash, slot, entry.proof), slotLeaf(entry.value));
});
