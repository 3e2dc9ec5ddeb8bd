//! Storage layouts of the system contracts: what an upgrade finds in storage must mean the same afterwards.
//!
//! The compiler says where each variable is; the committed `api/layout.json` says where it was. A layout may only grow at its end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Outcome;

/// The layouts of several contracts, by name.
pub(crate) type Layouts = BTreeMap<String, Layout>;

/// Where one contract keeps its variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// `slot:offset label type`, in order.
    variables: Vec<String>,
    /// The fields of its structs, in the same form, by the struct's name.
    structs: BTreeMap<String, Vec<String>>,
}

impl Layout {
    /// Reads the compiler's `storageLayout`.
    pub(crate) fn of(artefact: &Value) -> Outcome<Self> {
        let layout = &artefact["storageLayout"];
        let types = layout["types"].as_object();
        let places = |list: &Value| -> Outcome<Vec<String>> {
            let list = list.as_array().ok_or("the compiler gave no storage layout")?;
            list.iter().map(|place| described(place, &layout["types"])).collect()
        };
        let structs = types.into_iter().flatten().filter(|(_, kind)| kind["members"].is_array());
        let structs = structs.map(|(_, kind)| Ok((word(kind, "label")?, places(&kind["members"])?)));
        Ok(Self { variables: places(&layout["storage"])?, structs: structs.collect::<Outcome<_>>()? })
    }

    /// Whether a struct is the element of an array somewhere: then its length must stay, too.
    fn is_element(&self, name: &str) -> bool {
        let element = format!("{name}[");
        let fields = self.structs.values().flatten();
        self.variables.iter().chain(fields).any(|place| place.contains(&element))
    }

    /// The first way in which `self` does not continue `before`.
    pub(crate) fn broken(&self, before: &Self) -> Option<String> {
        let moved = first_change(&before.variables, &self.variables);
        let fields = || {
            let lists = before.structs.iter();
            lists.filter_map(|(name, fields)| {
                let present = self.structs.get(name).map_or(&[][..], Vec::as_slice);
                let grown = self.is_element(name) && present.len() > fields.len();
                let grown = grown.then(|| "it has grown, and stands in an array".to_owned());
                first_change(fields, present).or(grown).map(|change| format!("{name}: {change}"))
            })
        };
        moved.or_else(|| fields().next())
    }
}

/// The first entry of a list that is not where it was.
fn first_change(before: &[String], after: &[String]) -> Option<String> {
    let changed = before.iter().enumerate().find(|(index, entry)| after.get(*index) != Some(entry));
    changed.map(|(index, entry)| {
        let present = after.get(index).map_or("nothing", String::as_str);
        format!("{present} is where {entry} was")
    })
}

fn described(place: &Value, types: &Value) -> Outcome<String> {
    let kind = word(&types[word(place, "type")?], "label")?;
    Ok(format!("{}:{} {} {kind}", word(place, "slot")?, place["offset"], word(place, "label")?))
}

fn word(value: &Value, key: &str) -> Outcome<String> {
    value[key]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("the compiler's storage layout has no {key}"))
}

/// Refuses layouts that do not continue the committed ones.
pub(crate) fn check(before: &Layouts, after: &Layouts) -> Outcome {
    for (contract, layout) in before {
        let present =
            after.get(contract).ok_or(format!("{contract} has a committed storage layout and is gone"))?;
        if let Some(change) = present.broken(layout) {
            return Err(format!(
                "the storage of {contract} does not continue the committed layout: {change}. Add variables at the end only (docs/tasks/change-a-contract.md); \
                 `cargo xtask codegen --breaking` is for contracts that no network runs"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn artefact(variables: &[(&str, u64, &str, &str)], fields: &[(&str, u64, &str, &str)]) -> Value {
        let places = |list: &[(&str, u64, &str, &str)]| -> Vec<Value> {
            let places = list.iter().map(|(slot, offset, label, kind)| {
                json!({ "slot": slot, "offset": offset, "label": label, "type": kind })
            });
            places.collect()
        };
        json!({ "storageLayout": {
            "storage": places(variables),
            "types": {
                "t_uint64": { "label": "uint64" },
                "t_address": { "label": "address" },
                "t_struct": { "label": "struct Entry", "members": places(fields) },
                "t_array": { "label": "struct Entry[]" },
            },
        }})
    }

    #[test]
    fn a_layout_may_grow_at_its_end_and_nowhere_else() {
        let field = ("0", 0, "state", "t_uint64");
        let [a, b] = [("0", 0, "_a", "t_uint64"), ("0", 8, "_b", "t_uint64")];
        let layout = |variables: &[_], fields: &[_]| {
            let layout = Layout::of(&artefact(variables, fields)).unwrap();
            Layouts::from([("One".to_owned(), layout)])
        };
        let before = layout(&[a, b], &[field]);
        let owner = ("1", 0, "owner", "t_address");
        let grown = layout(&[a, b, ("1", 0, "_c", "t_struct")], &[field, owner]);
        check(&before, &grown).unwrap();
        let listed = ("1", 0, "_list", "t_array");
        let error = check(&layout(&[listed], &[field]), &layout(&[listed], &[field, owner])).unwrap_err();
        assert!(error.contains("stands in an array"), "{error}");
        let broken = [
            layout(&[a], &[field]),
            layout(&[b, a], &[field]),
            layout(&[a, ("0", 8, "_b", "t_address")], &[field]),
            layout(&[a, ("1", 0, "_b", "t_uint64")], &[field]),
            layout(&[a, b], &[]),
            layout(&[a, b], &[("0", 0, "state", "t_address")]),
            Layouts::new(),
        ];
        for after in broken {
            assert!(check(&before, &after).is_err(), "{after:?}");
        }
        assert!(Layout::of(&json!({})).is_err());
    }
}
