//! `halfspace prefix-list`: networks under a name.

use clap::{Args, Subcommand};
use ipnet::IpNet;

use super::{Ask, Error, output};
use crate::actions::prefix_list::{
    CreateManagedPrefixList, DeleteManagedPrefixList, DescribeManagedPrefixLists, Entry,
    GetManagedPrefixListEntries, ModifyManagedPrefixList, PrefixListDescription, RemoveEntry,
};

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum PrefixList {
    /// Make a prefix list
    #[command(after_help = "\
Each of the entries it may have counts as a rule of every group that names it.

Examples:
  halfspace prefix-list create offices --max-entries 10 --entry 192.0.2.0/24")]
    Create(Create),

    /// Change a prefix list; rules that name it go by it at once
    #[command(after_help = "\
Examples:
  halfspace prefix-list modify pl-offices --add 198.51.100.0/24 --remove 192.0.2.0/24
  halfspace prefix-list modify pl-offices --max-entries 20")]
    Modify(Modify),

    /// Delete a prefix list that no rule names
    #[command(after_help = "\
Examples:
  halfspace prefix-list delete pl-offices")]
    Delete(One),

    /// List prefix lists
    #[command(after_help = "\
Examples:
  halfspace prefix-list list")]
    List(Ask),

    /// Show the networks of a prefix list
    #[command(after_help = "\
Examples:
  halfspace prefix-list show pl-offices")]
    Show(One),
}

#[derive(Args, Debug)]
pub(super) struct Create {
    #[command(flatten)]
    ask: Ask,

    /// Its name
    name: String,

    /// How many networks it may have
    #[arg(long, value_name = "COUNT")]
    max_entries: u32,

    /// Its id [default: dealt out]
    #[arg(long)]
    id: Option<String>,

    /// A network; may be given several times
    #[arg(long = "entry", value_name = "NETWORK")]
    entries: Vec<IpNet>,
}

#[derive(Args, Debug)]
pub(super) struct Modify {
    #[command(flatten)]
    ask: Ask,

    /// The list
    id: String,

    /// A network that comes; may be given several times
    #[arg(long, value_name = "NETWORK")]
    add: Vec<IpNet>,

    /// A network that goes; may be given several times
    #[arg(long, value_name = "NETWORK")]
    remove: Vec<IpNet>,

    /// How many networks it may have from now on
    #[arg(long, value_name = "COUNT")]
    max_entries: Option<u32>,

    /// A new name
    #[arg(long)]
    name: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct One {
    #[command(flatten)]
    ask: Ask,

    /// The list
    id: String,
}

fn entry(cidr: &IpNet) -> Entry {
    Entry { cidr: *cidr, description: None }
}

impl PrefixList {
    pub(super) async fn execute(&self) -> Result<(), Error> {
        match self {
            Self::Create(create) => {
                let request = CreateManagedPrefixList {
                    prefix_list_id: create.id.clone(),
                    prefix_list_name: create.name.clone(),
                    max_entries: create.max_entries,
                    address_family: None,
                    entries: create.entries.iter().map(entry).collect(),
                };
                create.ask.act(&request, |it| told("created", &it.prefix_list)).await
            }
            Self::Modify(modify) => {
                let remove = modify.remove.iter().map(|cidr| RemoveEntry { cidr: *cidr });
                let request = ModifyManagedPrefixList {
                    prefix_list_id: modify.id.clone(),
                    prefix_list_name: modify.name.clone(),
                    max_entries: modify.max_entries,
                    remove_entries: remove.collect(),
                    add_entries: modify.add.iter().map(entry).collect(),
                };
                modify.ask.act(&request, |it| told("changed", &it.prefix_list)).await
            }
            Self::Delete(One { ask, id }) => {
                let request = DeleteManagedPrefixList { prefix_list_id: id.clone() };
                ask.act(&request, |_| output::line(format_args!("deleted {id}"))).await
            }
            Self::List(ask) => {
                let all = DescribeManagedPrefixLists::default();
                ask.act(&all, |told| list(&told.prefix_lists)).await
            }
            Self::Show(One { ask, id }) => {
                let request = GetManagedPrefixListEntries { prefix_list_id: id.clone() };
                ask.act(&request, |told| show(&told.entries)).await
            }
        }
    }
}

fn told(done: &str, list: &PrefixListDescription) -> std::io::Result<()> {
    output::line(format_args!("{done} {} ({})", list.prefix_list_id, list.prefix_list_name))
}

fn list(lists: &[PrefixListDescription]) -> std::io::Result<()> {
    let mut table = output::table(&["PREFIX LIST", "NAME", "FAMILY", "MAX ENTRIES"]);
    output::align_right(&mut table, &[3]);
    for it in lists {
        table.add_row([
            it.prefix_list_id.clone(),
            it.prefix_list_name.clone(),
            output::optional(it.address_family),
            it.max_entries.to_string(),
        ]);
    }
    output::print(&table)
}

fn show(entries: &[Entry]) -> std::io::Result<()> {
    let mut table = output::table(&["NETWORK", "DESCRIPTION"]);
    for it in entries {
        table.add_row([it.cidr.to_string(), output::optional(it.description.as_ref())]);
    }
    output::print(&table)
}
