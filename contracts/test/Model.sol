// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Suite} from "../src/lib/Suite.sol";
import {
    BallotKind,
    BallotState,
    Card,
    Grant,
    KeyRelease,
    Opening,
    OpeningRecord,
    Record,
    Refusal,
    Revocation,
    SignedCard,
    Standing,
    VisibilityChange
} from "../src/lib/Types.sol";
import {Hands} from "./Consortium.sol";

/// Does at random what members and strangers could try, keeps its own simple account of who may do what, and notes
/// every difference between that and what the contracts let happen. Few objects and few members, so that what they do meets:
/// owners are 1 and 2 with one object each, actors 1 to 6.
contract Model is Hands {
    struct Permission {
        bool granted;
        uint64 expiresAt;
        uint32 maxOpenings;
        uint32 openings;
    }

    /// A call to the sharing contract that succeeded: it must never do so again.
    bytes private _spent;

    /// The first difference found, empty when there is none.
    string public violation;
    uint32 public admitted = FOUNDERS;
    mapping(uint32 id => address) public accountAdmitted;

    mapping(uint32 id => Standing) private _standing;
    /// Visibility in force of each version; its length is the newest version.
    mapping(uint32 owner => mapping(uint64 number => int64[])) private _visibility;
    mapping(uint32 owner => mapping(uint64 number => mapping(uint32 id => Permission))) private _permission;
    uint64 private constant NUMBER = 7;
    uint32 private _lastOwner = 1;

    constructor() {
        for (uint32 i = 1; i <= FOUNDERS; ++i) {
            _standing[i] = Standing.Active;
            accountAdmitted[i] = accountOf(i);
        }
    }

    function lastTouched() external view returns (uint32 owner, uint64 number, uint32 version) {
        (owner, number) = (_lastOwner, NUMBER);
        version = uint32(_visibility[owner][number].length);
    }

    /// The rule as MISSION D1, D2 and D5 state it.
    function mayOpen(uint32 owner, uint64 number, uint32 version, uint32 id) public view returns (bool) {
        int64[] storage versions = _visibility[owner][number];
        if (_standing[id] != Standing.Active || version == 0 || version > versions.length) return false;
        if (id == owner || versions[version - 1] <= 0) return true;
        Permission storage permission = _permission[owner][number][id];
        bool inTime = permission.expiresAt == 0 || block.timestamp <= permission.expiresAt;
        bool openingsLeft = permission.maxOpenings == 0 || permission.openings < permission.maxOpenings;
        return permission.granted && inTime && openingsLeft;
    }

    function recordVersion(uint32 owner, uint32 signer, uint8 visibility, bool stale) external {
        (owner, signer) = touch(owner, signer);
        int64[] storage versions = _visibility[owner][NUMBER];
        Record memory record = recordOf(NUMBER, uint32(versions.length) + (stale ? 0 : 1));
        record.visibility = int64(uint64(visibility % 3)) - 1;
        bytes memory signature = signed(signer, record, owner);
        bool done;
        if (versions.length == 0) {
            (done,) =
                address(storeOf(owner)).call(abi.encodeCall(storeOf(owner).relayPut, (record, signature)));
        } else {
            (done,) =
                address(storeOf(owner)).call(abi.encodeCall(storeOf(owner).relayUpdate, (record, signature)));
        }
        expect(done, mayAct(owner, signer) && !stale, "record");
        if (done) versions.push(record.visibility);
    }

    function grantTo(uint32 owner, uint32 signer, uint32 id, uint16 time, uint8 openings) external {
        (owner, signer) = touch(owner, signer);
        id = 1 + id % 6;
        Grant memory grant = grantOf(owner, NUMBER, id);
        grant.expiresAt = time % 3 == 0 ? 0 : uint64(block.timestamp + time % 300);
        grant.maxOpenings = openings % 3;
        bytes memory signature = signed(signer, grant);
        bool done = tell(abi.encodeCall(sharing.relayShare, (grant, signature)));
        bool sensible =
            id != owner && _standing[id] == Standing.Active && _visibility[owner][NUMBER].length > 0;
        expect(done, mayAct(owner, signer) && sensible, "share");
        if (done) _permission[owner][NUMBER][id] = Permission(true, grant.expiresAt, grant.maxOpenings, 0);
    }

    function takeBack(uint32 owner, uint32 signer, uint32 id) external {
        (owner, signer) = touch(owner, signer);
        id = 1 + id % 6;
        Revocation memory revocation = revocationOf(owner, NUMBER, id);
        bytes memory signature = signed(signer, revocation);
        bool done = tell(abi.encodeCall(sharing.relayRevoke, (revocation, signature)));
        expect(done, mayAct(owner, signer) && _permission[owner][NUMBER][id].granted, "revoke");
        if (done) _permission[owner][NUMBER][id].granted = false;
    }

    function changeVisibility(uint32 owner, uint32 signer, uint8 visibility) external {
        (owner, signer) = touch(owner, signer);
        VisibilityChange memory change = changeOf(owner, NUMBER, int64(uint64(visibility % 3)) - 1);
        bytes memory signature = signed(signer, change);
        bool done = tell(abi.encodeCall(sharing.relaySetVisibility, (change, signature)));
        int64[] storage versions = _visibility[owner][NUMBER];
        expect(done, mayAct(owner, signer) && versions.length > 0, "setVisibility");
        if (!done) return;
        for (uint256 i; i < versions.length; ++i) {
            versions[i] = change.visibility;
        }
    }

    function openAs(uint32 owner, uint32 version, uint32 id, uint32 signer) external {
        (owner, signer) = touch(owner, signer);
        id = 1 + id % 6;
        // Mostly the member itself asks, or hardly anything would ever be opened.
        if (signer != 3) signer = id;
        version = version % 3;
        Opening memory opening = openingOf(owner, NUMBER, version, id);
        bytes memory signature = signed(signer, opening);
        uint64 before = sharing.openingCount();
        bool done = tell(abi.encodeCall(sharing.relayOpen, (opening, signature)));
        expect(done, mayAct(id, signer), "open is recorded");
        bool opened = sharing.openingCount() != before;
        expect(opened, done && mayOpen(owner, NUMBER, version, id), "open");
        bool byGrant = opened && id != owner && _visibility[owner][NUMBER][version - 1] > 0;
        if (byGrant) ++_permission[owner][NUMBER][id].openings;
    }

    function release(uint64 id, uint32 signer) external {
        signer = 1 + signer % 6;
        uint64 count = sharing.openingCount();
        if (count == 0) return;
        id = 1 + id % count;
        OpeningRecord memory opening = sharing.openingRecord(id);
        KeyRelease memory statement = KeyRelease(id);
        bytes memory signature = signed(signer, statement);
        bool done = tell(abi.encodeCall(sharing.relayRecordRelease, (statement, signature)));
        expect(done, mayAct(opening.owner, signer) && !opening.released, "recordRelease");
    }

    function refuse(uint32 owner, uint32 signer, uint32 id) external {
        (owner, signer) = touch(owner, signer);
        Refusal memory refusal = refusalOf(owner, NUMBER, 1 + id % 6, 11);
        bytes memory signature = signed(signer, refusal);
        bool done = tell(abi.encodeCall(sharing.relayRecordRefusal, (refusal, signature)));
        expect(done, mayAct(owner, signer), "recordRefusal");
    }

    function openBallot(uint32 opener, uint32 subject, uint8 standing) external {
        // An applicant's key is the number it would get; smaller ones are taken.
        (opener, subject) = (1 + opener % 6, 1 + subject % (admitted + 1));
        uint64 before = governance.ballotCount();
        vm.prank(accountOf(opener));
        bytes memory call_ = standing % 4 == 0
            ? abi.encodeCall(governance.openJoin, (signedCardOf(subject)))
            : abi.encodeCall(governance.openStanding, (subject, Standing(standing % 4)));
        (bool done,) = Suite.GOVERNANCE.call(call_);
        if (done) expect(_standing[opener] == Standing.Active, true, "a ballot opened by the inactive");
        expect(governance.ballotCount() == before + 1, done, "ballots are numbered in order");
    }

    /// Votes on the newest ballot and follows what it changed.
    function vote(uint32 voter, uint8 against) external {
        voter = 1 + voter % 6;
        uint64 id = governance.ballotCount();
        if (id == 0) return;
        BallotState before = governance.ballot(id).state;
        bool voted = (governance.ballot(id).voted >> voter) & 1 == 1;
        vm.prank(accountOf(voter));
        (bool done,) = Suite.GOVERNANCE.call(abi.encodeCall(governance.vote, (id, against % 8 != 0)));
        if (done) {
            expect(_standing[voter] == Standing.Active, true, "a vote by the inactive");
            expect(voted || before != BallotState.Open, false, "a second vote, or one too late");
        }
        if (before == BallotState.Open && governance.ballot(id).state == BallotState.Executed) follow(id);
    }

    function replay() external {
        if (_spent.length == 0) return;
        (bool done,) = Suite.SHARING.call(_spent);
        expect(done, false, "a replay");
    }

    function passTime(uint16 time) external {
        vm.warp(block.timestamp + time % 200);
    }

    function follow(uint64 id) private {
        uint32 subject = governance.ballot(id).subject;
        bytes memory action = governance.ballot(id).action;
        if (governance.ballot(id).kind == BallotKind.Join) {
            expect(subject == admitted + 1, true, "identifiers are assigned in order");
            admitted = subject;
            accountAdmitted[subject] = abi.decode(action, (SignedCard)).card.account;
            _standing[subject] = Standing.Active;
        } else {
            expect(_standing[subject] == Standing.Removed, false, "the removed came back");
            _standing[subject] = abi.decode(action, (Standing));
        }
    }

    function tell(bytes memory message) private returns (bool done) {
        (done,) = Suite.SHARING.call(message);
        if (done) _spent = message;
    }

    /// Whether what `signer` signs for `id` counts.
    function mayAct(uint32 id, uint32 signer) private view returns (bool) {
        return id == signer && _standing[id] == Standing.Active;
    }

    function touch(uint32 owner, uint32 signer) private returns (uint32, uint32) {
        _lastOwner = 1 + owner % 2;
        // Mostly the owner itself.
        return (_lastOwner, signer % 4 != 0 ? _lastOwner : 1 + (signer / 4) % 6);
    }

    function expect(bool happened, bool wanted, string memory what) private {
        if (happened == wanted || bytes(violation).length != 0) return;
        violation = string.concat(what, happened ? ": happened without permission" : ": was hindered");
    }
}
