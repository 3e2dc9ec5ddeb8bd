//! Names of objects that this member can read, searched in memory.
//!
//! Nothing here is stored: the node reads the names from its encrypted key table when it starts. So neither a file of the index nor a
//! database server of somebody else ever holds one.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
};

use hansa_types::{DcId, ObjectId};
use parking_lot::RwLock;

/// Most objects that a search lists; one with more matches is answered by a walk over objects that asks about each.
pub(crate) const FOUND_MAX: usize = 2_000;

/// The names, and an index of their words.
#[derive(Default)]
pub struct Names(RwLock<Tables>);

#[derive(Default)]
struct Tables {
    names: HashMap<ObjectId, Box<str>>,
    /// In the order of lists by name: folded name and object.
    ordered: BTreeSet<(Box<str>, ObjectId)>,
    words: BTreeSet<(Box<str>, ObjectId)>,
}

/// Words that a name must have the beginnings of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Search(Vec<Box<str>>);

/// The objects that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// All of them.
    All(Vec<ObjectId>),
    /// Possibly more than [`FOUND_MAX`].
    Many,
}

fn folded(text: &str) -> Box<str> {
    text.to_lowercase().into()
}

fn words(text: &str) -> Vec<Box<str>> {
    let folded = folded(text);
    let words = folded.split(|character: char| !character.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(Into::into).collect()
}

impl Search {
    /// The words of a text.
    pub(crate) fn new(text: &str) -> Self {
        Self(words(text))
    }

    /// Whether it asks for nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn matches(&self, name: &str) -> bool {
        let words = words(name);
        self.0.iter().all(|wanted| words.iter().any(|word| word.starts_with(&**wanted)))
    }
}

impl Names {
    /// No names yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes an object's name, in place of an earlier one.
    pub fn insert(&self, object: ObjectId, name: &str) {
        let mut tables = self.0.write();
        let Tables { names, ordered, words: index } = &mut *tables;
        if let Some(old) = names.insert(object, name.into()) {
            ordered.remove(&(folded(&old), object));
            for word in words(&old) {
                index.remove(&(word, object));
            }
        }
        ordered.insert((folded(name), object));
        index.extend(words(name).into_iter().map(|word| (word, object)));
    }

    /// How many objects have a name here.
    pub fn len(&self) -> usize {
        self.0.read().names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The objects whose names match.
    pub(crate) fn search(&self, search: &Search) -> Found {
        let tables = self.0.read();
        for wanted in &search.0 {
            let with_word = tables.range(&tables.words, wanted).take(FOUND_MAX.saturating_add(1));
            let mut objects: Vec<ObjectId> = with_word.map(|(_, object)| *object).collect();
            if objects.len() <= FOUND_MAX {
                objects.retain(|object| tables.names.get(object).is_some_and(|name| search.matches(name)));
                objects.sort_unstable();
                objects.dedup();
                return Found::All(objects);
            }
        }
        Found::Many
    }

    /// Whether an object's name matches.
    pub(crate) fn is_match(&self, object: ObjectId, search: &Search) -> bool {
        self.0.read().names.get(&object).is_some_and(|name| search.matches(name))
    }

    /// The next objects by name behind one of them; from the beginning where `after` is `None`. `None` if `after` has no name.
    pub(crate) fn next(&self, after: Option<ObjectId>, limit: usize) -> Option<Vec<ObjectId>> {
        let tables = self.0.read();
        let start = match after {
            None => Bound::Unbounded,
            Some(object) => Bound::Excluded((folded(tables.names.get(&object)?), object)),
        };
        let next = tables.ordered.range((start, Bound::Unbounded)).take(limit);
        Some(next.map(|(_, object)| *object).collect())
    }
}

impl Tables {
    /// The entries that begin with a word.
    fn range<'a>(
        &self,
        entries: &'a BTreeSet<(Box<str>, ObjectId)>,
        word: &'a str,
    ) -> impl Iterator<Item = &'a (Box<str>, ObjectId)> {
        let first = ObjectId { owner: DcId(std::num::NonZeroU32::MIN), number: 0 };
        entries.range((word.into(), first)..).take_while(move |(entry, _)| entry.starts_with(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(number: u64) -> ObjectId {
        ObjectId { owner: DcId::new(1).unwrap(), number }
    }

    fn found(names: &Names, text: &str) -> Vec<u64> {
        match names.search(&Search::new(text)) {
            Found::All(objects) => objects.into_iter().map(|object| object.number).collect(),
            Found::Many => panic!("few were expected"),
        }
    }

    #[test]
    fn names_are_found_by_the_beginnings_of_their_words() {
        let names = Names::new();
        names.insert(object(1), "Bill of Lading-2026.pdf");
        names.insert(object(2), "Customs bill Größe.pdf");
        names.insert(object(3), "lading list");
        assert_eq!(found(&names, "bill"), [1, 2]);
        assert_eq!(found(&names, "LAD"), [1, 3]);
        assert_eq!(found(&names, "bill 2026"), [1]);
        assert_eq!(found(&names, "grö"), [2]);
        assert_eq!(found(&names, "ill"), [0; 0]);
        names.insert(object(1), "renamed");
        assert_eq!((found(&names, "bill"), found(&names, "ren"), names.len()), (vec![2], vec![1], 3));
    }

    #[test]
    fn a_search_with_many_matches_is_narrowed_by_its_rarest_word() {
        let names = Names::new();
        for number in 0..=FOUND_MAX as u64 {
            names.insert(object(number + 1), "invoice");
        }
        names.insert(object(5), "invoice special");
        assert_eq!(names.search(&Search::new("invoice")), Found::Many);
        assert_eq!(found(&names, "invoice special"), [5]);
        assert!(names.is_match(object(9), &Search::new("inv")));
    }

    #[test]
    fn objects_follow_one_another_by_name() {
        let names = Names::new();
        for (number, name) in [(1, "b"), (2, "A"), (3, "a")] {
            names.insert(object(number), name);
        }
        assert_eq!(names.next(None, 2), Some(vec![object(2), object(3)]));
        assert_eq!(names.next(Some(object(3)), 2), Some(vec![object(1)]));
        assert_eq!(names.next(Some(object(4)), 2), None);
    }
}
