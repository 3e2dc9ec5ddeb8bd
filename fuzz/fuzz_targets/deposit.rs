//! A deposited key, as any member may have it recorded on the chain or put beside a version, and the identity that it is sealed under.
#![no_main]

use hansa_types::{Deposit, GrantDeposit, ReleaseId, VersionDeposits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(deposit) = Deposit::decode(data) {
        assert_eq!(deposit.encode(), data);
    }
    if let Some(granted) = GrantDeposit::decode(data, 1) {
        assert_eq!(granted.encode(), data);
    }
    if let Some(beside) = VersionDeposits::decode(data) {
        assert_eq!(beside.encode(), data);
    }
    if let Ok(bytes) = data.try_into()
        && let Some(id) = ReleaseId::decode(bytes)
    {
        assert_eq!(id.encode(), *bytes);
    }
});
