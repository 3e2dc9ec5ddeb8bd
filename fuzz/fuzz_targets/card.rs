//! What people hand to one another as files: genesis and member cards.
#![no_main]

use hansa_types::{Genesis, MemberCard};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    let _ = Genesis::from_json(data);
    let _ = serde_json::from_str::<MemberCard>(data);
});
