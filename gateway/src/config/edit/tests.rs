//! Single changes and the text that comes of them. Random ones are in [`random`].

mod messy;
mod random;

use nf_core::vpc::Document;
use nf_core::vpc::document::{HealthCheck, Target};

use super::*;

const TWO_INTERFACE: &str = include_str!("../../../../configs/two-interface/resources.toml");
const LOAD_BALANCER: &str = include_str!("../../../../configs/load-balancer/resources.toml");
const LAMBDA_BRIDGE: &str = include_str!("../../../../configs/lambda-bridge/resources.toml");
const TWO_TENANTS: &str = include_str!("../../../../configs/two-tenants/resources.toml");
const SAMPLES: [&str; 4] = [TWO_INTERFACE, LOAD_BALANCER, LAMBDA_BRIDGE, TWO_TENANTS];

fn parse(text: &str) -> Document {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// `text` after a change of what it says.
fn edited(text: &str, change: impl FnOnce(&mut Document)) -> String {
    let old = parse(text);
    let mut new = old.clone();
    change(&mut new);
    edit(text, &old, &new).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// `text` with one part of it replaced by another: what a person would have done.
fn by_hand(text: &str, part: &str, with: &str) -> String {
    assert_eq!(text.matches(part).count(), 1, "{part}");
    text.replace(part, with)
}

/// Choices, drawn beforehand so that proptest can make them smaller.
struct Dice(std::vec::IntoIter<u32>);

impl std::fmt::Debug for Dice {
    /// On one line, whatever proptest asks for.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0.as_slice())
    }
}

impl Dice {
    fn of(rolls: Vec<u32>) -> Self {
        Self(rolls.into_iter())
    }

    /// 0 to `sides` - 1, and 0 when nothing is left or there are no sides.
    fn below(&mut self, sides: usize) -> usize {
        self.0.next().map_or(0, |roll| (roll as usize).checked_rem(sides).unwrap_or(0))
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.below(sides) == 1
    }
}

const SMALL: &str = r#"# Two subnets.

# The address space.
[[vpc]]
vpc_id = "vpc-a"
cidr_block = "10.0.0.0/16"

# The first.
[[subnet]]
subnet_id = "subnet-a"
vpc_id = "vpc-a"
cidr_block = "10.0.0.0/24" # up to .255
port = "lan0"
# port = "lan9"

# --- the rest ---

# The second.
[[subnet]]
subnet_id = "subnet-b"
vpc_id = "vpc-a"
# Not the next.
cidr_block = "10.0.2.0/24"
"#;

#[test]
fn a_document_that_stays_as_it_is_stays_to_the_byte() {
    for sample in SAMPLES {
        for text in [sample.to_owned(), sample.replace('\n', "\r\n"), sample.trim().to_owned()] {
            assert_eq!(edited(&text, |_| {}), text);
        }
    }
}

#[test]
fn a_changed_value_leaves_its_line_and_all_others_alone() {
    let text = edited(SMALL, |it| it.subnet[0].cidr_block = "10.0.1.0/24".parse().unwrap());
    assert_eq!(text, by_hand(SMALL, "10.0.0.0/24", "10.0.1.0/24"));
}

#[test]
fn a_new_key_comes_below_the_others_of_its_element() {
    let text = edited(SMALL, |it| it.subnet[0].route_table_id = Some("rtb-a".parse().unwrap()));
    let line = "port = \"lan0\"\n";
    assert_eq!(text, by_hand(SMALL, line, &format!("{line}route_table_id = \"rtb-a\"\n")));

    let text = edited(SMALL.trim_end(), |it| it.subnet[1].port = Some("lan1".into()));
    assert_eq!(text, format!("{SMALL}port = \"lan1\"\n"));
}

#[test]
fn a_key_that_goes_takes_the_comment_above_it_along() {
    let text = edited(LAMBDA_BRIDGE, |it| it.lambda_bridge[0].ipv6_address = None);
    let lines =
        "# Without this line environments have no IPv6.\nipv6_address = \"fd00:c:0:1::100\"\n";
    assert_eq!(text, by_hand(LAMBDA_BRIDGE, lines, ""));
}

#[test]
fn a_key_goes_if_it_would_say_what_leaving_it_out_says_and_stays_if_it_always_did() {
    let text = edited(LAMBDA_BRIDGE, |it| it.network_interface[0].description.clear());
    assert_eq!(text, by_hand(LAMBDA_BRIDGE, "description = \"orders database\"\n", ""));

    let bridge = |seconds| {
        edited(LAMBDA_BRIDGE, |it| it.lambda_bridge[0].tcp_idle_timeout_seconds = seconds)
    };
    assert_eq!(bridge(350), LAMBDA_BRIDGE, "the default, in so many words");
    let changed = "tcp_idle_timeout_seconds = 60";
    assert_eq!(bridge(60), by_hand(LAMBDA_BRIDGE, "tcp_idle_timeout_seconds = 350", changed));
}

#[test]
fn a_new_element_follows_the_last_of_its_kind_and_says_only_what_it_has_to() {
    let interface = "\n[[network_interface]]\nnetwork_interface_id = \"eni-new\"\n\
         subnet_id = \"subnet-private\"\nprivate_ip_address = \"10.0.1.51\"\n";
    let text = edited(LAMBDA_BRIDGE, |it| {
        it.network_interface.extend(parse(interface).network_interface);
    });
    let last = "description = \"orders database\"\n";
    assert_eq!(text, by_hand(LAMBDA_BRIDGE, last, &format!("{last}{interface}")));
}

#[test]
fn the_first_element_of_a_kind_comes_at_the_end() {
    let address = "[[address]]\nallocation_id = \"eipalloc-a\"\npublic_ip = \"203.0.113.1\"\n";
    for before in ["", SMALL, &format!("{SMALL}\n# The end.\n"), SMALL.trim_end()] {
        let text = edited(before, |it| it.address = parse(address).address);
        let gap = match before {
            "" => "",
            _ if before.ends_with('\n') => "\n",
            _ => "\n\n",
        };
        assert_eq!(text, format!("{before}{gap}{address}"));
    }
}

#[test]
fn a_new_element_stands_where_the_document_has_it() {
    let text = edited(SMALL, |it| {
        let mut new = it.subnet[0].clone();
        new.subnet_id = "subnet-c".parse().unwrap();
        new.port = None;
        it.subnet.insert(1, new.clone());
        new.subnet_id = "subnet-d".parse().unwrap();
        it.subnet.insert(0, new);
    });
    let block = |id| {
        format!(
            "[[subnet]]\nsubnet_id = \"{id}\"\nvpc_id = \"vpc-a\"\ncidr_block = \"10.0.0.0/24\"\n"
        )
    };
    let first = "# The first.\n";
    let with_first = by_hand(SMALL, first, &format!("{}\n{first}", block("subnet-d")));
    let rest = "# --- the rest ---\n";
    assert_eq!(text, by_hand(&with_first, rest, &format!("{}\n{rest}", block("subnet-c"))));
}

#[test]
fn an_element_that_goes_takes_the_comments_that_touch_it_and_no_others() {
    let text = edited(SMALL, |it| drop(it.vpc.remove(0)));
    let lines =
        "# The address space.\n[[vpc]]\nvpc_id = \"vpc-a\"\ncidr_block = \"10.0.0.0/16\"\n\n";
    assert_eq!(text, by_hand(SMALL, lines, ""));

    let text = edited(SMALL, |it| drop(it.subnet.remove(0)));
    let lines = &SMALL[SMALL.find("# The first.").unwrap()..SMALL.find("# --- the rest").unwrap()];
    assert_eq!(text, by_hand(SMALL, lines, ""));

    let text = edited(SMALL, |it| drop(it.subnet.remove(1)));
    assert_eq!(text, SMALL[..SMALL.find("\n# The second.").unwrap()]);

    assert_eq!(
        edited(SMALL, |it| *it = Document::default()),
        "# Two subnets.\n\n# --- the rest ---\n"
    );
}

#[test]
fn the_last_line_of_a_text_of_several_is_no_comment() {
    let text = "[[network_interface]]\nnetwork_interface_id = \"eni-a\"\nsubnet_id = \"subnet-a\"\n\
         private_ip_address = \"10.0.0.9\"\ndescription = \"\"\"\n# not a comment\"\"\"\n\
         [[vpc]]\nvpc_id = \"vpc-a\"\ncidr_block = \"10.0.0.0/16\"\n";
    let rest = edited(text, |it| it.vpc.clear());
    assert_eq!(rest, text[..text.find("[[vpc]]").unwrap()]);
}

#[test]
fn nor_is_it_one_in_an_array() {
    let text = "texts = [\n    '''\n# not a comment''',\n    \"gone\",\n]\n";
    let (old, mut new): (Table, Table) =
        (toml::from_str(text).unwrap(), toml::from_str(text).unwrap());
    new["texts"].as_array_mut().unwrap().pop();
    assert_eq!(edit_tree(text, &old, &new).unwrap(), by_hand(text, "    \"gone\",\n", ""));
}

#[test]
fn of_what_comes_at_the_end_the_keys_of_the_last_element_are_first() {
    let interface = "[[network_interface]]\nnetwork_interface_id = \"eni-a\"\n\
         subnet_id = \"subnet-a\"\nprivate_ip_address = \"10.0.0.9\"\n";
    let vpc = "[[vpc]]\nvpc_id = \"vpc-a\"\ncidr_block = \"10.0.0.0/16\"\n";
    let text = edited(interface, |it| {
        it.vpc = parse(vpc).vpc;
        it.network_interface[0].port = Some("tap0".into());
    });
    assert_eq!(text, format!("{interface}port = \"tap0\"\n\n{vpc}"));
}

#[test]
fn an_element_is_known_by_its_id_wherever_its_values_went() {
    let text = edited(TWO_TENANTS, |it| {
        it.vpc.remove(0);
        it.vpc[0].cidr_block = "10.1.0.0/16".parse().unwrap();
    });
    assert!(!text.contains("[[vpc]]\nvpc_id = \"vpc-red\"\n"));
    assert!(text.contains("[[vpc]]\nvpc_id = \"vpc-blue\"\ncidr_block = \"10.1.0.0/16\"\n"));
}

#[test]
fn tables_below_an_element_go_with_it_and_stay_where_they_are_if_it_changes() {
    let text = edited(LOAD_BALANCER, |it| {
        it.target_group.remove(0);
        it.target_group[0].health_check.interval_seconds = 7;
    });
    let start = LOAD_BALANCER.find("[[target_group]]").unwrap();
    let end = LOAD_BALANCER.find("# UDP has no handshake").unwrap();
    let without = by_hand(LOAD_BALANCER, &LOAD_BALANCER[start..end], "");
    assert_eq!(text, by_hand(&without, "interval_seconds = 5", "interval_seconds = 7"));

    let text = edited(LOAD_BALANCER, |it| {
        it.load_balancer[0].subnet_mapping[0].private_ipv4_address = "10.0.0.80".parse().ok();
        it.load_balancer[0].listener[1].port = 5353.try_into().unwrap();
        it.target_group[0].health_check.timeout_seconds = None;
    });
    let changed = by_hand(
        LOAD_BALANCER,
        "allocation_id = \"eipalloc-shop\" }]",
        "allocation_id = \"eipalloc-shop\", private_ipv4_address = \"10.0.0.80\" }]",
    );
    let changed =
        by_hand(&changed, "\"UDP\"\nport = 53\ntarget_g", "\"UDP\"\nport = 5353\ntarget_g");
    assert_eq!(text, by_hand(&changed, "timeout_seconds = 1\n", ""));
}

#[test]
fn an_array_of_tables_below_an_element_is_changed_table_by_table() {
    let listener = "\n[[load_balancer.listener]]\nprotocol = \"TCP\"\nport = 443\n\
         target_group_name = \"web\"\n";
    let added = edited(LOAD_BALANCER, |it| {
        let mut new = it.load_balancer[0].listener[0].clone();
        (new.port, new.tcp_idle_timeout_seconds) = (443.try_into().unwrap(), None);
        it.load_balancer[0].listener.push(new);
    });
    let last = "port = 53\ntarget_group_name = \"dns\"\n";
    assert_eq!(added, by_hand(LOAD_BALANCER, last, &format!("{last}{listener}")));

    let removed = edited(&added, |it| drop(it.load_balancer[0].listener.remove(0)));
    let start = added.find("# What it listens on").unwrap();
    let end = added.find("[[load_balancer.listener]]\nprotocol = \"UDP\"").unwrap();
    assert_eq!(removed, by_hand(&added, &added[start..end], ""));

    let none = edited(LOAD_BALANCER, |it| it.load_balancer[0].listener.clear());
    assert!(!none.contains("listener]]") && !none.contains("What it listens on"), "{none}");
    let required = edited(
        "[[load_balancer]]\nload_balancer_name = \"a\"\nscheme = \"internal\"\n\n\
         [[load_balancer.subnet_mapping]]\nsubnet_id = \"subnet-a\"\n",
        |it| it.load_balancer[0].subnet_mapping.clear(),
    );
    assert_eq!(
        required,
        "[[load_balancer]]\nload_balancer_name = \"a\"\nscheme = \"internal\"\nsubnet_mapping = []\n"
    );
}

#[test]
fn an_array_with_a_line_for_each_element_gets_and_loses_lines() {
    let targets = |text: &str, change: fn(&mut Vec<Target>)| {
        edited(text, |it| change(&mut it.target_group[0].target))
    };
    let text = targets(LOAD_BALANCER, |targets| {
        let mut new = targets[0].clone();
        new.id = "10.0.1.13".parse().unwrap();
        targets.push(new);
        targets.remove(1);
        targets[1].weight = 3;
    });
    let changed = by_hand(LOAD_BALANCER, "    { id = \"10.0.1.11\", weight = 2 },\n", "");
    let last = "    { id = \"10.0.1.12\", port = 8081 },\n";
    let lines =
        "    { id = \"10.0.1.12\", port = 8081, weight = 3 },\n    { id = \"10.0.1.13\" },\n";
    assert_eq!(text, by_hand(&changed, last, lines));

    let commented = by_hand(
        LOAD_BALANCER,
        "    { id = \"10.0.1.10\" },\n    { id = \"10.0.1.11\", weight = 2 },\n",
        "    # one\n    { id = \"10.0.1.10\" }, # first\n    # two\n    { id = \"10.0.1.11\" } # no comma\n\
         ,\n",
    );
    let without_first =
        targets(&commented, |targets| targets.retain(|it| it.id.to_string() != "10.0.1.10"));
    let first = "    # one\n    { id = \"10.0.1.10\" }, # first\n";
    assert_eq!(without_first, by_hand(&commented, first, ""));
    let without_second =
        targets(&commented, |targets| targets.retain(|it| it.id.to_string() != "10.0.1.11"));
    let second = "    # two\n    { id = \"10.0.1.11\" } # no comma\n,\n";
    assert_eq!(without_second, by_hand(&commented, second, ""));
}

/// An uplink with these addresses.
fn addresses(array: &str) -> String {
    format!("[[uplink]]\nuplink_id = \"uplink-a\"\nport = \"wan0\"\naddresses = {array}\n")
}

fn with_addresses(array: &str, addresses_now: &[&str]) -> String {
    let text = edited(&addresses(array), |it| {
        it.uplink[0].addresses = addresses_now.iter().map(|it| it.parse().unwrap()).collect();
    });
    let start = addresses("");
    text.strip_prefix(start.trim_end()).expect("the rest is as it was").trim().to_owned()
}

#[test]
fn an_array_on_one_line_stays_on_it_while_it_fits() {
    assert_eq!(with_addresses("[]", &["10.0.0.1/8"]), r#"["10.0.0.1/8"]"#);
    assert_eq!(
        with_addresses(r#"[ '10.0.0.1/8', "10.0.0.2/8" ]"#, &["10.0.0.1/8", "10.0.0.3/8"]),
        r#"['10.0.0.1/8', "10.0.0.3/8"]"#
    );
    assert_eq!(with_addresses(r#"["10.0.0.1/8"]"#, &[]), "[]");
    let many: Vec<_> = (1..=9).map(|last| format!("10.0.0.{last}/8")).collect();
    let lines = many.iter().map(|it| format!("    \"{it}\",\n")).collect::<Vec<_>>().concat();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(with_addresses(r#"["10.0.0.1/8"]"#, &many), format!("[\n{lines}]"));
}

#[test]
fn comments_in_an_array_stay_with_their_elements() {
    let array = "[ \"10.0.0.1/8\", # one\n    \"10.0.0.2/8\", \"10.0.0.3/8\" # three\n    # end\n]";
    assert_eq!(
        with_addresses(array, &["10.0.0.2/8", "10.0.0.3/8"]),
        "[ # one\n    \"10.0.0.2/8\", \"10.0.0.3/8\" # three\n    # end\n]"
    );
    assert_eq!(
        with_addresses(array, &["10.0.0.1/8", "10.0.0.3/8"]),
        "[ \"10.0.0.1/8\", # one\n    \"10.0.0.3/8\" # three\n    # end\n]"
    );
    assert_eq!(
        with_addresses(array, &["10.0.0.1/8", "10.0.0.2/8"]),
        "[ \"10.0.0.1/8\", # one\n    \"10.0.0.2/8\", # three\n    # end\n]"
    );
    assert_eq!(
        with_addresses(
            array,
            &[
                "10.0.0.9/8",
                "10.0.0.1/8",
                "10.0.0.8/8",
                "10.0.0.2/8",
                "10.0.0.7/8",
                "10.0.0.3/8",
                "10.0.0.6/8"
            ]
        ),
        "[ \"10.0.0.9/8\", \"10.0.0.1/8\", # one\n    \"10.0.0.8/8\",\n    \"10.0.0.2/8\", \
         \"10.0.0.7/8\", \"10.0.0.3/8\", # three\n    \"10.0.0.6/8\",\n    # end\n]"
    );
    assert_eq!(
        with_addresses("[\n    \"10.0.0.1/8\"]", &["10.0.0.1/8", "10.0.0.2/8"]),
        "[\n    \"10.0.0.1/8\", \"10.0.0.2/8\"]"
    );
}

/// A target group with this of a health check.
fn checked(keys: &str, tables: &str) -> String {
    format!(
        "[[target_group]]\ntarget_group_name = \"web\"\nprotocol = \"TCP\"\nport = 80\n\
         vpc_id = \"vpc-a\"\n{keys}\n{tables}[[vpc]]\nvpc_id = \"vpc-a\"\n\
         cidr_block = \"10.0.0.0/16\"\n"
    )
}

#[test]
fn a_table_below_an_element_keeps_its_form() {
    for (keys, tables, keys_now, tables_now) in [
        ("", "", "health_check = { interval_seconds = 9 }\n", ""),
        ("health_check = {}\n", "", "health_check = { interval_seconds = 9 }\n", ""),
        (
            "health_check = { port = 'traffic-port', interval_seconds = 5 }\n",
            "",
            "health_check = { port = 'traffic-port', interval_seconds = 9 }\n",
            "",
        ),
        (
            "health_check = { port = 'traffic-port' }\n",
            "",
            "health_check = { port = 'traffic-port', interval_seconds = 9 }\n",
            "",
        ),
        (
            "health_check.port = 'traffic-port'\n",
            "",
            "health_check.port = 'traffic-port'\nhealth_check.interval_seconds = 9\n",
            "",
        ),
        (
            "health_check.interval_seconds = 5\ntarget = []\n",
            "",
            "health_check.interval_seconds = 9\ntarget = []\n",
            "",
        ),
        (
            "",
            "[target_group.health_check]\n\n",
            "",
            "[target_group.health_check]\ninterval_seconds = 9\n\n",
        ),
        (
            "",
            "[target_group.health_check] # how\nport = 'traffic-port'\n\n",
            "",
            "[target_group.health_check] # how\nport = 'traffic-port'\ninterval_seconds = 9\n\n",
        ),
    ] {
        let text = edited(&checked(keys, tables), |it| {
            it.target_group[0].health_check.interval_seconds = 9;
        });
        assert_eq!(text, checked(keys_now, tables_now));

        let default = edited(&text, |it| it.target_group[0].health_check = HealthCheck::default());
        assert!(!default.contains("interval_seconds"), "{default}");
    }
}

#[test]
fn whole_arrays_of_inline_tables_are_edited_as_well() {
    let text = "vpc = [{ vpc_id = \"vpc-a\", cidr_block = \"10.0.0.0/16\" }] # all\n";
    let added = edited(text, |it| {
        let mut new = it.vpc[0].clone();
        new.vpc_id = "vpc-b".parse().unwrap();
        it.vpc.push(new);
    });
    assert_eq!(
        added,
        "vpc = [\n    { vpc_id = \"vpc-a\", cidr_block = \"10.0.0.0/16\" },\n    \
         { vpc_id = \"vpc-b\", cidr_block = \"10.0.0.0/16\" },\n] # all\n"
    );
    let removed = edited(&added, |it| drop(it.vpc.remove(0)));
    assert_eq!(
        removed,
        "vpc = [\n    { vpc_id = \"vpc-b\", cidr_block = \"10.0.0.0/16\" },\n] # all\n"
    );
    assert_eq!(edited(text, |it| it.vpc.clear()), "");
}

#[test]
fn line_ends_are_those_of_the_text() {
    let change = |it: &mut Document| {
        it.target_group[0].target = it.target_group[1].target.clone();
        it.target_group[1].port = 54.try_into().unwrap();
        it.nat_gateway[0].private_ip_address = "10.0.0.9".parse().ok();
        it.address.remove(0);
        it.vpc.extend(parse(SMALL).vpc);
        it.network_interface = parse(LAMBDA_BRIDGE).network_interface;
        it.network_interface[0].description = "two\r\nlines\u{7f}".to_owned();
    };
    let text = edited(LOAD_BALANCER, change);
    assert!(text.contains("description = \"two\\r\\nlines\\u007F\"\n"), "{text}");
    let windows = edited(&LOAD_BALANCER.replace('\n', "\r\n"), change);
    assert_eq!(windows, text.replace('\n', "\r\n"));
}

#[test]
fn nothing_is_written_into_a_text_that_says_something_else() {
    let old = parse(SMALL);
    let mut new = old.clone();
    new.subnet[1].cidr_block = "10.0.3.0/24".parse().unwrap();
    for other in [TWO_TENANTS, "", &SMALL.replace("subnet-a", "subnet-c")] {
        assert!(matches!(edit(other, &old, &new), Err(Error::Mismatch)), "{other}");
    }
    assert!(matches!(edit("[[vpc]", &old, &new), Err(Error::Syntax(_))));
}

/// The names that the reader expects in place of an unknown one, in their order.
fn expected_names(text: &str) -> Vec<String> {
    let error = toml::from_str::<Document>(text).expect_err("an unknown key");
    let (_, names) = error.message().split_once(", expected ").expect("names");
    names.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

/// [`steps`] relies on it.
#[test]
fn every_kind_begins_with_its_id() {
    let kinds = expected_names("\"?\" = 1\n");
    assert!(kinds.contains(&"network_interface".to_owned()), "{kinds:?}");
    for kind in kinds {
        if toml::from_str::<Document>(&format!("[{kind}]\n")).is_ok() {
            continue; // There is one of it only.
        }
        let first = expected_names(&format!("[[{kind}]]\n\"?\" = 1\n")).remove(0);
        let error = toml::from_str::<Document>(&format!("[[{kind}]]\n")).expect_err("no id");
        assert_eq!(error.message(), format!("missing field `{first}`"), "of {kind}");
        assert!(first.ends_with("_id") || first.ends_with("_name"), "{kind} begins with {first}");
    }
}
