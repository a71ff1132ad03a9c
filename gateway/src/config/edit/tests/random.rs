//! Random changes of random documents in random forms.

use nf_core::vpc::Document;
use proptest::prelude::*;
use toml::{Table, Value};

use super::messy::{self, Written};
use super::{Dice, SAMPLES};
use crate::config::edit::steps::{Step, steps};
use crate::config::edit::{edit, edit_tree};

fn dice(rolls: std::ops::Range<usize>) -> impl Strategy<Value = Dice> {
    proptest::collection::vec(any::<u32>(), rolls).prop_map(Dice::of)
}

fn tree_of(document: &Document) -> Table {
    Table::try_from(document).expect("a document is TOML")
}

/// Changes something somewhere in an array of tables, or not: what comes out need not make sense.
/// `others` has further elements of the same kind.
fn change_array(dice: &mut Dice, array: &mut Vec<Value>, others: &[Value]) {
    if array.is_empty() {
        return;
    }
    let at = dice.below(array.len());
    let other = others.get(dice.below(others.len())).or_else(|| array.first()).cloned();
    match dice.below(8) {
        0 | 1 => drop(array.remove(at)),
        2 => array.insert(dice.below(array.len() + 1), new_id(dice, array[at].clone())),
        3 => array.push(new_id(dice, array[at].clone())),
        4 => {
            let moved = array.remove(at);
            array.insert(dice.below(array.len() + 1), moved);
        }
        _ => {
            if let (Value::Table(table), Some(Value::Table(other))) = (&mut array[at], other) {
                change_table(dice, table, &other);
            } else {
                array.push(Value::from(i64::try_from(at).expect("few")));
            }
        }
    }
}

/// The same for a table.
fn change_table(dice: &mut Dice, table: &mut Table, other: &Table) {
    let names: Vec<_> = table.keys().chain(other.keys()).cloned().collect();
    if names.is_empty() {
        return;
    }
    let name = &names[dice.below(names.len())];
    match (table.get_mut(name), other.get(name)) {
        (Some(Value::Table(table)), Some(Value::Table(other))) if !dice.one_in(4) => {
            change_table(dice, table, other);
        }
        (Some(Value::Array(array)), Some(Value::Array(other))) if !dice.one_in(4) => {
            change_array(dice, array, other);
        }
        (Some(Value::Integer(number)), _) if dice.one_in(2) => *number += 1,
        (Some(_), Some(other)) if !dice.one_in(3) => {
            table.insert(name.clone(), other.clone());
        }
        (Some(_), _) => drop(table.remove(name)),
        (None, Some(other)) => drop(table.insert(name.clone(), other.clone())),
        (None, None) => {}
    }
}

/// Another element with the same contents.
fn new_id(dice: &mut Dice, mut element: Value) -> Value {
    if let Some((_, Value::String(id))) =
        element.as_table_mut().and_then(|table| table.iter_mut().next())
    {
        *id = format!("{id}-{}", dice.below(1000));
    }
    element
}

/// A document that differs from `old` in a few places.
fn changed(dice: &mut Dice, old: &Document) -> Document {
    let mut new = old.clone();
    for _ in 0..=dice.below(4) {
        let mut tree = tree_of(&new);
        let other = tree_of(&super::parse(SAMPLES[dice.below(SAMPLES.len())]));
        let arrays = tree.iter().filter(|(_, value)| value.is_array());
        let kinds: Vec<_> = arrays.map(|(kind, _)| kind.clone()).collect();
        let kind = &kinds[dice.below(kinds.len())];
        let others = other[kind].as_array().expect("an array");
        let array = tree[kind].as_array_mut().expect("an array");
        change_array(dice, array, others);
        if dice.one_in(4) {
            array.extend(others.iter().cloned().map(|it| new_id(dice, it)));
        }
        // What is not well formed is no document.
        if let Ok(document) = Value::Table(tree).try_into() {
            new = document;
        }
    }
    new
}

/// Whatever is the same in both trees reads the same in the text, what is not there any more has
/// left no comments behind, and comments of no element are all there.
fn assert_the_rest_is_untouched(before: &Written, after: &str, old: &Table, new: &Table) {
    let empty = Vec::new();
    let array = |tree: &'_ Table, kind: &str| {
        tree.get(kind).and_then(Value::as_array).unwrap_or(&empty).clone()
    };
    for element in &before.elements {
        let (old, new) = (array(old, &element.kind), array(new, &element.kind));
        let steps = steps(&old, &new);
        let step = steps.iter().find(|step| match step {
            Step::Keep(origin) | Step::Change(origin, ..) => *origin == element.index,
            Step::Insert(_) => false,
        });
        match step {
            Some(Step::Keep(_)) => {
                let lines = element.lines.trim_end();
                assert!(after.contains(lines), "changed without need:\n{lines}\nin\n{after}");
            }
            Some(Step::Change(_, was, is)) => {
                for (key, lines) in &element.keys {
                    if was.get(key) == is.get(key) {
                        let lines = lines.trim_end();
                        assert!(
                            after.contains(lines),
                            "changed without need:\n{lines}\nin\n{after}"
                        );
                    }
                }
            }
            _ => {
                for comment in element.lines.split("# c").skip(1) {
                    let (number, _) = comment.split_once('.').expect("all have a number");
                    let comment = format!("# c{number}.");
                    assert!(!after.contains(&comment), "left behind: {comment}\nin\n{after}");
                }
            }
        }
    }
    for comment in &before.loose_comments {
        assert!(after.contains(comment), "lost: {comment}\nof\n{}\nin\n{after}", before.text);
    }
}

proptest! {
    #[test]
    fn a_sample_says_what_it_is_changed_to_say_and_back_again(
        sample in 0..SAMPLES.len(), mut dice in dice(5..60),
    ) {
        let text = SAMPLES[sample];
        let old = super::parse(text);
        let new = changed(&mut dice, &old);
        let there = edit(text, &old, &new).expect("it can be changed");
        prop_assert_eq!(&super::parse(&there), &new);
        prop_assert_eq!(&edit(&there, &new, &new).expect("the same"), &there);
        let back = edit(&there, &new, &old).expect("it can be changed back");
        prop_assert_eq!(&super::parse(&back), &old);

        // A paragraph about elements that are the same in both is the same.
        let (old, new) = (tree_of(&old), tree_of(&new));
        let mut rest = &there[..];
        for paragraph in untouched_paragraphs(text, &old, &new) {
            let at = rest.find(paragraph);
            prop_assert!(at.is_some(), "lost or moved:\n{}\nin\n{}", paragraph, there);
            rest = &rest[at.unwrap_or_default() + paragraph.len()..];
        }
    }

    #[test]
    fn a_document_in_any_form_says_what_it_is_changed_to_say(
        sample in 0..SAMPLES.len(), mut dice in dice(100..6000),
    ) {
        let old = changed(&mut dice, &super::parse(SAMPLES[sample]));
        let new = changed(&mut dice, &old);
        let mut tree = tree_of(&old);
        tree.retain(|_, elements| elements.as_array().is_some_and(|it| !it.is_empty()));
        let written = messy::write(&mut dice, &tree);
        prop_assert_eq!(&super::parse(&written.text), &old, "{}", written.text);
        prop_assert_eq!(&edit(&written.text, &old, &old).expect("the same"), &written.text);
        let edited = edit(&written.text, &old, &new).expect("it can be changed");
        prop_assert_eq!(&super::parse(&edited), &new);
        assert_the_rest_is_untouched(&written, &edited, &tree, &tree_of(&new));
    }

    /// Shapes that no kind of resource has yet.
    #[test]
    fn any_tree_in_any_form_becomes_any_other(mut dice in dice(100..6000)) {
        let old = random_tree(&mut dice);
        let mut new = old.clone();
        let others = random_tree(&mut dice);
        for _ in 0..=dice.below(4) {
            change_table(&mut dice, &mut new, &others);
        }
        let written = messy::write(&mut dice, &old);
        let said: Table = toml::from_str(&written.text).expect(&written.text);
        prop_assert_eq!(&said, &old, "{}", written.text);
        let edited = edit_tree(&written.text, &old, &new).expect("TOML");
        let said = toml::from_str::<Table>(&edited);
        prop_assert_eq!(said.as_ref(), Ok(&new), "{}\nbecame\n{}", written.text, edited);
        assert_the_rest_is_untouched(&written, &edited, &old, &new);
    }
}

/// The paragraphs of a sample, except those with the header of an element that differs.
fn untouched_paragraphs<'t>(text: &'t str, old: &Table, new: &Table) -> Vec<&'t str> {
    let mut next = std::collections::HashMap::<&str, usize>::new();
    let mut of = None;
    let paragraphs = text.split("\n\n").filter(|paragraph| {
        for line in paragraph.lines() {
            if let Some(kind) = line.strip_prefix("[[").and_then(|line| line.strip_suffix("]]"))
                && !kind.contains('.')
            {
                let index = next.entry(kind).or_default();
                of = Some((kind, *index));
                *index += 1;
            }
        }
        let headers = paragraph.lines().filter(|line| line.starts_with('[')).count();
        let Some((kind, index)) = of.filter(|_| headers > 0) else { return true };
        let elements = |tree: &Table| tree[kind].as_array().cloned().unwrap_or_default();
        steps(&elements(old), &elements(new)).contains(&Step::Keep(index))
    });
    paragraphs.map(str::trim).collect()
}

fn random_tree(dice: &mut Dice) -> Table {
    let mut tree = Table::new();
    for kind in ["alpha", "beta", "a kind"] {
        let elements = (0..dice.below(4)).map(|index| {
            let mut table = Table::new();
            table.insert("id".into(), Value::from(format!("{kind}-{index}")));
            table.extend(random_table(dice, 0));
            Value::Table(table)
        });
        let elements: Vec<_> = elements.collect();
        if !elements.is_empty() {
            tree.insert(kind.into(), Value::Array(elements));
        }
    }
    if dice.one_in(2) {
        tree.insert("single".into(), Value::Table(random_table(dice, 0)));
    }
    tree
}

fn random_table(dice: &mut Dice, depth: usize) -> Table {
    const KEYS: [&str; 6] = ["a", "b", "c-d", "e f", "\"'", "g.h"];
    let keys: Vec<_> = KEYS.into_iter().filter(|_| dice.one_in(2)).collect();
    keys.into_iter().map(|key| (key.to_owned(), random_value(dice, depth))).collect()
}

fn random_value(dice: &mut Dice, depth: usize) -> Value {
    const TEXTS: [&str; 8] = [
        "",
        "plain",
        "# no comment",
        "two\nlines",
        "a\n# b",
        "\\ \"\"\" ''' \u{7f}",
        "\r\n\u{feff}é",
        "]",
    ];
    match dice.below(if depth < 3 { 7 } else { 3 }) {
        0 => Value::from(TEXTS[dice.below(TEXTS.len())]),
        1 => Value::from(i64::try_from(dice.below(1000)).expect("few") - 100),
        2 => Value::from(dice.one_in(2)),
        3 => Value::Table(random_table(dice, depth + 1)),
        4 => Value::Array(
            (0..dice.below(4)).map(|_| Value::Table(random_table(dice, depth + 1))).collect(),
        ),
        _ => Value::Array((0..dice.below(4)).map(|_| random_value(dice, depth + 2)).collect()),
    }
}
