//! What a document need not say: keys whose value is what leaving them out means.
//!
//! Which these are, only reading can tell, so that a field of a resource and its default are
//! written down in one place. A key is left out of the tree, and if the rest still reads as the
//! same, it may go.

use nf_core::vpc::Document;
use toml::{Table, Value};

use super::steps::{Step, steps};

/// Takes the defaults out of whatever differs between two documents, and kinds without elements out
/// of both. The rest is not looked at, since nobody is going to write it.
pub(super) fn leave_out(old: &mut Table, new: &mut Table) {
    for (kind, new) in &mut *new {
        match (old.get_mut(kind), new) {
            (Some(Value::Array(old)), Value::Array(new)) => leave_out_of_elements(kind, old, new),
            (None, Value::Array(new)) => leave_out_of_elements(kind, &mut [], new),
            (Some(old), new) if old == new => {}
            (old, new) => {
                for table in old.into_iter().chain([new]) {
                    *table = needed_of_table(kind, table);
                }
            }
        }
    }
    for tree in [old, new] {
        tree.retain(|_, value| match value {
            Value::Array(elements) => !elements.is_empty(),
            Value::Table(table) => !table.is_empty(),
            _ => true,
        });
    }
}

fn leave_out_of_elements(kind: &str, old: &mut [Value], new: &mut [Value]) {
    let mut unequal = Vec::new();
    for (index, step) in steps(old, new).into_iter().enumerate() {
        match step {
            Step::Keep(_) => {}
            Step::Change(origin, ..) => unequal.push((Some(origin), index)),
            Step::Insert(_) => unequal.push((None, index)),
        }
    }
    for (origin, index) in unequal {
        if let Some(origin) = origin {
            old[origin] = needed_of_element(kind, &old[origin]);
        }
        new[index] = needed_of_element(kind, &new[index]);
    }
}

fn needed_of_element(kind: &str, element: &Value) -> Value {
    needed(element, &|element| read_kind(kind, Value::Array(vec![element])))
}

fn needed_of_table(kind: &str, table: &Value) -> Value {
    needed(table, &|table| read_kind(kind, table))
}

fn read_kind(kind: &str, value: Value) -> Option<Document> {
    let tree = Table::from_iter([(kind.to_owned(), value)]);
    Value::Table(tree).try_into().ok()
}

/// `value` without what it need not say; `read` reads it in its place, among what is around it.
fn needed(value: &Value, read: &dyn Fn(Value) -> Option<Document>) -> Value {
    match value {
        Value::Table(table) => Value::Table(needed_of(table, read)),
        // Alone in its array, so that a long one does not cost the square of its length.
        Value::Array(elements) => {
            let alone = |element| read(Value::Array(vec![element]));
            Value::Array(elements.iter().map(|element| needed(element, &alone)).collect())
        }
        scalar => scalar.clone(),
    }
}

fn needed_of(table: &Table, read: &dyn Fn(Value) -> Option<Document>) -> Table {
    let Some(whole) = read(Value::Table(table.clone())) else { return table.clone() };
    let mut kept = table.clone();
    for (key, value) in table {
        let mut rest = kept.clone();
        rest.remove(key);
        if read(Value::Table(rest.clone())).as_ref() == Some(&whole) {
            kept = rest;
        } else if matches!(value, Value::Table(_) | Value::Array(_)) {
            let mut around = kept.clone();
            around.insert(key.clone(), Value::Boolean(false));
            let inner = needed(value, &|inner| {
                let mut table = around.clone();
                table.insert(key.clone(), inner);
                read(Value::Table(table))
            });
            kept.insert(key.clone(), inner);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(document: &str) -> Table {
        let document: Document = toml::from_str(document).expect("well formed");
        Table::try_from(document).expect("a document is TOML")
    }

    #[test]
    fn what_is_new_says_only_what_it_has_to() {
        let text = r#"
            [[route_table]]
            route_table_id = "rtb-a"
            vpc_id = "vpc-a"

            [[nat_gateway]]
            nat_gateway_id = "nat-a"
            subnet_id = "subnet-a"
            udp_idle_timeout_seconds = 30

            [[target_group]]
            target_group_name = "web"
            protocol = "TCP"
            port = 80
            vpc_id = "vpc-a"
            health_check = { interval_seconds = 5 }
            target = [{ id = "10.0.0.1" }, { id = "10.0.0.2", weight = 2 }]
        "#;
        let (mut old, mut new) = (tree(""), tree(text));
        assert_ne!(new, toml::from_str(text).expect("TOML"), "defaults are said");
        leave_out(&mut old, &mut new);
        assert_eq!(new, toml::from_str(text).expect("TOML"));
        assert_eq!(old, Table::new());
    }

    #[test]
    fn what_differs_is_told_by_what_it_has_to_say_and_the_rest_stays_as_it_is() {
        let vpc = |id| format!("[[vpc]]\nvpc_id = \"{id}\"\ncidr_block = \"10.0.0.0/16\"\n");
        let eni = |id, checked| {
            format!(
                "[[network_interface]]\nnetwork_interface_id = \"{id}\"\n\
                 subnet_id = \"subnet-a\"\nprivate_ip_address = \"10.0.0.9\"\n\
                 source_dest_check = {checked}\n"
            )
        };
        let text = |checked| vpc("vpc-a") + &eni("eni-a", true) + &eni("eni-b", checked);
        let (mut old, mut new) = (tree(&text(false)), tree(&text(true)));
        leave_out(&mut old, &mut new);
        let keys = |tree: &Table, index: usize| -> Vec<String> {
            let element = tree["network_interface"][index].as_table().expect("a table");
            element.keys().cloned().collect()
        };
        let required = ["network_interface_id", "subnet_id", "private_ip_address"];
        assert_eq!(keys(&new, 1), required);
        assert_eq!(keys(&old, 1), [&required[..], &["source_dest_check"]].concat());
        assert_eq!(keys(&old, 0), keys(&new, 0));
    }
}
