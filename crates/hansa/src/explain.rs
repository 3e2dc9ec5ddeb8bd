//! `hansa explain`: an error code's meaning, without a node.

use hansa_api::Code;
use serde_json::json;

use crate::{output::Output, problem::CliError};

/// Says what an error code means.
pub(crate) fn run(text: &str, output: Output) -> Result<(), CliError> {
    let digits = text.trim_start_matches(['E', 'e']);
    let code = digits.parse().ok().and_then(Code::from_number).ok_or_else(|| {
        CliError::Usage(format!("there is no error code {text}; they are E and four digits, as E2004"))
    })?;
    let (title, hint) = (code.title(), code.hint());
    let page = json!({ "code": code.number(), "title": title, "hint": hint });
    output.result(&page, |_| format!("{code}: {title}\n{hint}"));
    Ok(())
}
