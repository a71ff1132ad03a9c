//! From one array to another, element by element.

use std::collections::{HashMap, VecDeque};

use toml::Value;

/// How the next element of the new array comes about. Elements of the old one that no step names
/// are gone.
#[derive(Debug, PartialEq)]
pub(super) enum Step<'v> {
    /// This old element as it is.
    Keep(usize),
    /// This old element, which was the one value and is the other now.
    Change(usize, &'v Value, &'v Value),
    /// One that was not there.
    Insert(&'v Value),
}

/// The steps from `old` to `new`, which name old elements in their order.
///
/// Equal elements are the same one. Of the others, tables are if they agree in their first key:
/// every kind of resource begins with its id, and what has none begins with what it is about, as a
/// target does with its address. An element that has moved past others is taken for gone and new,
/// because order counts: free addresses are dealt out in it.
pub(super) fn steps<'v>(old: &'v [Value], new: &'v [Value]) -> Vec<Step<'v>> {
    let same_start = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old_rest, new_rest) = (&old[same_start..], &new[same_start..]);
    let same_end = old_rest
        .iter()
        .rev()
        .zip(new_rest.iter().rev())
        .take_while(|(old, new)| old == new)
        .count();
    let old_rest = &old_rest[..old_rest.len() - same_end];
    let new_rest = &new_rest[..new_rest.len() - same_end];

    let mut origins = vec![None; new_rest.len()];
    pair(&mut origins, old_rest, new_rest, |value| Some(value.to_string()));
    pair(&mut origins, old_rest, new_rest, first_entry);
    keep_ascending(&mut origins);

    let start = (0..same_start).map(Step::Keep);
    let middle = origins.into_iter().zip(new_rest).map(|(origin, new)| match origin {
        Some(origin) if old_rest[origin] == *new => Step::Keep(same_start + origin),
        Some(origin) => Step::Change(same_start + origin, &old_rest[origin], new),
        None => Step::Insert(new),
    });
    let end = (old.len() - same_end..old.len()).map(Step::Keep);
    start.chain(middle).chain(end).collect()
}

fn first_entry(value: &Value) -> Option<String> {
    let (key, value) = value.as_table()?.iter().next()?;
    Some(format!("{key} = {value}"))
}

/// Gives every new element without an origin the first old one that has the same name and is not
/// taken.
fn pair(
    origins: &mut [Option<usize>],
    old: &[Value],
    new: &[Value],
    name: impl Fn(&Value) -> Option<String>,
) {
    let mut taken = vec![false; old.len()];
    for origin in origins.iter().flatten() {
        taken[*origin] = true;
    }
    let mut waiting: HashMap<String, VecDeque<usize>> = HashMap::new();
    for (index, value) in old.iter().enumerate().filter(|(index, _)| !taken[*index]) {
        if let Some(name) = name(value) {
            waiting.entry(name).or_default().push_back(index);
        }
    }
    for (origin, value) in origins.iter_mut().zip(new).filter(|(origin, _)| origin.is_none()) {
        *origin = name(value).and_then(|name| waiting.get_mut(&name)?.pop_front());
    }
}

/// Forgets as few origins as possible so that the rest ascends: the longest increasing
/// subsequence, by patience sorting.
fn keep_ascending(origins: &mut [Option<usize>]) {
    // For every length, where the subsequence of that length with the lowest end ends.
    let mut ends: Vec<usize> = Vec::new();
    let mut before = vec![None; origins.len()];
    for (at, origin) in origins.iter().enumerate().filter(|(_, origin)| origin.is_some()) {
        let length = ends.partition_point(|end| origins[*end] < *origin);
        before[at] = length.checked_sub(1).map(|shorter| ends[shorter]);
        if length == ends.len() {
            ends.push(at);
        } else {
            ends[length] = at;
        }
    }
    let mut ascending = vec![false; origins.len()];
    let mut last = ends.last().copied();
    while let Some(at) = last {
        ascending[at] = true;
        last = before[at];
    }
    for (origin, ascending) in origins.iter_mut().zip(ascending) {
        *origin = origin.filter(|_| ascending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a1 b` is an array of a table with the keys `is = "a"` and `has = 1` and one with `is = "b"`.
    fn array(words: &str) -> Vec<Value> {
        let table = |word: &str| {
            let (is, has) = word.split_at(1);
            let mut table = toml::Table::new();
            table.insert("is".into(), is.into());
            if !has.is_empty() {
                table.insert("has".into(), has.into());
            }
            Value::Table(table)
        };
        words.split_whitespace().map(table).collect()
    }

    /// `0` keeps an element, `0*` changes it, `+` is a new one.
    fn told(old: &str, new: &str) -> String {
        let (old, new) = (array(old), array(new));
        let told = steps(&old, &new).into_iter().map(|step| match step {
            Step::Keep(origin) => origin.to_string(),
            Step::Change(origin, was, is) => {
                assert_eq!(was, &old[origin]);
                assert!(new.contains(is));
                format!("{origin}*")
            }
            Step::Insert(is) => {
                assert!(new.contains(is));
                "+".to_owned()
            }
        });
        told.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn elements_are_the_same_if_their_first_key_is() {
        assert_eq!(told("a b c", "a b c"), "0 1 2");
        assert_eq!(told("a b1 c", "a b2 c"), "0 1* 2");
        assert_eq!(told("a b c", "a c"), "0 2");
        assert_eq!(told("a c", "a b c d"), "0 + 1 +");
        assert_eq!(told("a b", "b1 c"), "1* +");
        assert_eq!(told("", "a"), "+");
        assert_eq!(told("a", ""), "");
    }

    #[test]
    fn of_several_with_one_first_key_equal_ones_are_the_same() {
        assert_eq!(told("a1 a2 a3", "a2 a3"), "1 2");
        assert_eq!(told("a1 a2 a3", "a1 a4 a3"), "0 1* 2");
        assert_eq!(told("a a", "a a a"), "0 1 +");
    }

    #[test]
    fn what_moves_past_others_is_gone_and_new() {
        assert_eq!(told("a b c d", "d a b c"), "+ 0 1 2");
        assert_eq!(told("a b c d", "b c d1 a"), "1 2 3* +");
        assert_eq!(told("a b c d", "d c b a").matches('+').count(), 3);
    }

    #[test]
    fn scalars_are_the_same_if_they_are_equal() {
        let (old, new) = ([1, 2, 3].map(Value::from), [1, 4, 3].map(Value::from));
        assert_eq!(steps(&old, &new), [Step::Keep(0), Step::Insert(&new[1]), Step::Keep(2)]);
    }
}
