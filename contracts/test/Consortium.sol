// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IConsortiumRegistry} from "../src/interfaces/IConsortiumRegistry.sol";
import {IDataStore} from "../src/interfaces/IDataStore.sol";
import {IGovernance} from "../src/interfaces/IGovernance.sol";
import {ISharing} from "../src/interfaces/ISharing.sol";
import {Suite} from "../src/lib/Suite.sol";
import {
    Card,
    Grant,
    KeyRelease,
    Opening,
    Quota,
    Record,
    Refusal,
    Revocation,
    SignedCard,
    Standing,
    VisibilityChange
} from "../src/lib/Types.sol";
import {Vm} from "./Vm.sol";

/// Hands to act and sign with. Member `d`'s private key is `d`.
abstract contract Hands {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    IConsortiumRegistry internal constant registry = IConsortiumRegistry(Suite.REGISTRY);
    IGovernance internal constant governance = IGovernance(Suite.GOVERNANCE);
    ISharing internal constant sharing = ISharing(Suite.SHARING);

    uint32 internal constant FOUNDERS = 4;
    uint64 internal constant BALLOT_SECONDS = 1 days;
    uint64 internal constant NOW = 1_800_000_000;
    uint64 internal constant EPOCH_BLOCKS = 100;
    bytes32 internal constant GENESIS_HASH = keccak256("genesis");
    /// Sends transactions for others; holds no right of its own.
    address internal constant RELAY = address(0xfee);

    function cardOf(uint32 id) internal pure returns (Card memory) {
        bytes memory key = new bytes(1216);
        assembly ("memory-safe") {
            mstore(add(key, 32), id)
        }
        return Card({
            name: "Data centre",
            cluster: 1,
            account: accountOf(id),
            networkKey: bytes32(uint256(id)),
            encryptionKey: key,
            consensusEndpoint: "127.0.0.1:9000",
            swarmEndpoint: "/ip4/127.0.0.1/tcp/4001"
        });
    }

    /// A card with its account's signature; the network key's is not checked by contracts.
    function signedBy(uint256 key, Card memory card) internal pure returns (SignedCard memory) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version)"), keccak256("Hansa card"), keccak256("1")
            )
        );
        bytes32 typeHash = keccak256(
            "Card(string name,uint32 cluster,address account,bytes32 networkKey,bytes encryptionKey,string consensusEndpoint,string swarmEndpoint)"
        );
        bytes memory head = abi.encode(typeHash, keccak256(bytes(card.name)), card.cluster, card.account);
        bytes memory tail = abi.encode(
            card.networkKey,
            keccak256(card.encryptionKey),
            keccak256(bytes(card.consensusEndpoint)),
            keccak256(bytes(card.swarmEndpoint))
        );
        bytes32 content = keccak256(bytes.concat(head, tail));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", domain, content));
        return SignedCard(card, signed(key, digest), "");
    }

    function signedCardOf(uint32 id) internal pure returns (SignedCard memory) {
        return signedBy(id, cardOf(id));
    }

    function accountOf(uint32 id) internal pure returns (address) {
        return vm.addr(id);
    }

    function storeOf(uint32 id) internal view returns (IDataStore) {
        return IDataStore(registry.dataStoreOf(id));
    }

    /// Admits a member as a ballot would.
    function admit(uint32 id) internal {
        vm.prank(Suite.GOVERNANCE);
        registry.admit(signedCardOf(id));
    }

    function setStanding(uint32 id, Standing status) internal {
        vm.prank(Suite.GOVERNANCE);
        registry.setStanding(id, status);
    }

    function recordOf(uint64 number, uint32 version) internal pure returns (Record memory) {
        return Record({
            number: number,
            version: version,
            root: keccak256(abi.encode("root", number, version)),
            commitment: keccak256(abi.encode("commitment", number, version)),
            visibility: 1,
            keyEpoch: 1,
            sizeClass: 1 << 20,
            createdAt: NOW,
            validUntil: 0
        });
    }

    /// Puts an object as its owner should.
    function put(uint32 owner, uint64 number) internal {
        Record memory record = recordOf(number, 1);
        bytes memory signature = signed(owner, record, owner);
        vm.prank(RELAY);
        storeOf(owner).relayPut(record, signature);
    }

    function grantOf(uint32 owner, uint64 number, uint32 grantee) internal view returns (Grant memory) {
        return Grant({
            owner: owner,
            number: number,
            grantee: grantee,
            expiresAt: 0,
            maxOpenings: 0,
            keyEpoch: 1,
            wrappedKey: "",
            nonce: sharing.grant(owner, number, grantee).shareNonce + 1
        });
    }

    /// Shares an object as its owner should.
    function share(uint32 owner, uint64 number, uint32 grantee) internal {
        Grant memory grant = grantOf(owner, number, grantee);
        sharing.relayShare(grant, signed(owner, grant));
    }

    function revocationOf(uint32 owner, uint64 number, uint32 grantee)
        internal
        view
        returns (Revocation memory)
    {
        return Revocation(owner, number, grantee, sharing.grant(owner, number, grantee).shareNonce + 1);
    }

    function revoke(uint32 owner, uint64 number, uint32 grantee) internal {
        Revocation memory revocation = revocationOf(owner, number, grantee);
        sharing.relayRevoke(revocation, signed(owner, revocation));
    }

    function changeOf(uint32 owner, uint64 number, int64 visibility)
        internal
        view
        returns (VisibilityChange memory)
    {
        return VisibilityChange(owner, number, visibility, 1, "", sharing.visibilityNonce(owner, number) + 1);
    }

    function setVisibility(uint32 owner, uint64 number, int64 visibility) internal {
        VisibilityChange memory change = changeOf(owner, number, visibility);
        sharing.relaySetVisibility(change, signed(owner, change));
    }

    function openingOf(uint32 owner, uint64 number, uint32 version, uint32 id)
        internal
        view
        returns (Opening memory)
    {
        return Opening(owner, number, version, id, sharing.grant(owner, number, id).openNonce + 1);
    }

    /// Opens as the member itself would; 0 when it is refused.
    function open(uint32 owner, uint64 number, uint32 version, uint32 id) internal returns (uint64) {
        Opening memory opening = openingOf(owner, number, version, id);
        return sharing.relayOpen(opening, signed(id, opening));
    }

    function refusalOf(uint32 owner, uint64 number, uint32 id, uint8 reason)
        internal
        view
        returns (Refusal memory)
    {
        return Refusal(owner, number, 1, id, reason, sharing.grant(owner, number, id).refusalNonce + 1);
    }

    // What follows is written from EIP-712, not from the contracts, so that the two check each other.

    function signed(uint256 key, Record memory r, uint32 owner) internal view returns (bytes memory) {
        bytes32 typeHash = keccak256(
            "Record(uint64 number,uint32 version,bytes32 root,bytes32 commitment,int64 visibility,uint32 keyEpoch,uint64 sizeClass,uint64 createdAt,uint64 validUntil)"
        );
        return signed(key, digestFor(address(storeOf(owner)), keccak256(abi.encode(typeHash, r))));
    }

    function signed(uint256 key, Grant memory g) internal view returns (bytes memory) {
        bytes32 typeHash = keccak256(
            "Grant(uint32 owner,uint64 number,uint32 grantee,uint64 expiresAt,uint32 maxOpenings,uint32 keyEpoch,bytes wrappedKey,uint32 nonce)"
        );
        bytes memory head = abi.encode(typeHash, g.owner, g.number, g.grantee, g.expiresAt);
        bytes memory tail = abi.encode(g.maxOpenings, g.keyEpoch, keccak256(g.wrappedKey), g.nonce);
        return signed(key, digestFor(Suite.SHARING, keccak256(bytes.concat(head, tail))));
    }

    function signed(uint256 key, Revocation memory r) internal view returns (bytes memory) {
        bytes32 typeHash = keccak256("Revocation(uint32 owner,uint64 number,uint32 grantee,uint32 nonce)");
        return signed(key, digestFor(Suite.SHARING, keccak256(abi.encode(typeHash, r))));
    }

    function signed(uint256 key, VisibilityChange memory c) internal view returns (bytes memory) {
        bytes32 typeHash = keccak256(
            "VisibilityChange(uint32 owner,uint64 number,int64 visibility,uint32 keyEpoch,bytes publishedKey,uint32 nonce)"
        );
        bytes memory head = abi.encode(typeHash, c.owner, c.number, c.visibility, c.keyEpoch);
        bytes memory tail = abi.encode(keccak256(c.publishedKey), c.nonce);
        return signed(key, digestFor(Suite.SHARING, keccak256(bytes.concat(head, tail))));
    }

    function signed(uint256 key, Opening memory o) internal view returns (bytes memory) {
        bytes32 typeHash =
            keccak256("Opening(uint32 owner,uint64 number,uint32 version,uint32 dcId,uint32 nonce)");
        return signed(key, digestFor(Suite.SHARING, keccak256(abi.encode(typeHash, o))));
    }

    function signed(uint256 key, KeyRelease memory k) internal view returns (bytes memory) {
        bytes32 typeHash = keccak256("KeyRelease(uint64 openingId)");
        return signed(key, digestFor(Suite.SHARING, keccak256(abi.encode(typeHash, k))));
    }

    function signed(uint256 key, Refusal memory r) internal view returns (bytes memory) {
        bytes32 typeHash = keccak256(
            "Refusal(uint32 owner,uint64 number,uint32 version,uint32 dcId,uint8 reason,uint32 nonce)"
        );
        return signed(key, digestFor(Suite.SHARING, keccak256(abi.encode(typeHash, r))));
    }

    function signed(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function digestFor(address verifier, bytes32 structHash) internal view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)"
                ),
                keccak256("Hansa"),
                keccak256("1"),
                block.chainid,
                verifier,
                GENESIS_HASH
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }
}

/// A consortium of four founders as it stands after genesis.
abstract contract Consortium is Hands {
    function setUp() public virtual {
        vm.warp(NOW);
        place();
        Card[] memory founders = new Card[](FOUNDERS);
        for (uint32 i; i < FOUNDERS; ++i) {
            founders[i] = cardOf(i + 1);
        }
        vm.prank(Suite.SYSTEM);
        registry.initialize(founders, EPOCH_BLOCKS);
        vm.prank(Suite.SYSTEM);
        governance.initialize(1, BALLOT_SECONDS, Quota(1 << 20, 1 << 10));
        vm.prank(Suite.SYSTEM);
        registry.setGenesisHash(GENESIS_HASH);
    }

    /// Puts the code where genesis puts it; nothing is initialised.
    function place() internal {
        vm.etch(Suite.REGISTRY, vm.getDeployedCode("ConsortiumRegistry.sol:ConsortiumRegistry"));
        vm.etch(Suite.GOVERNANCE, vm.getDeployedCode("Governance.sol:Governance"));
        vm.etch(Suite.SHARING, vm.getDeployedCode("Sharing.sol:Sharing"));
        vm.etch(Suite.DATA_STORE_TEMPLATE, vm.getDeployedCode("DataStore.sol:DataStore"));
        vm.etch(Suite.ACCESS_CONTROL_TEMPLATE, vm.getDeployedCode("AccessControl.sol:AccessControl"));
    }
}
