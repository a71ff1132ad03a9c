//! The addresses of a NAT gateway: which private one stands for which Elastic IP address.
//!
//! Its interface has them in the order of the document, each family by itself. So what is found out
//! here of the document alone holds for the interface, too: the first place of a family is its first
//! address of it, and so on.

use std::net::IpAddr;

use super::Path;
use super::ids::Ids;
use super::managed::Wish;
use crate::vpc::document::{ConnectivityType, Document, NatGateway};
use crate::vpc::id::AllocationId;
use crate::vpc::model::{Eni, NatAddress};

/// A place for one address.
pub(super) struct Place<'d> {
    pub(super) is_ipv4: bool,
    /// The Elastic IP address, and where the document names it.
    pub(super) allocation: Option<(&'d AllocationId, Path)>,
    pub(super) is_draining: bool,
    wish: Wish,
}

/// The places of a gateway, the primary one of IPv4 among them: an interface is never without.
pub(super) fn places<'d>(
    gateway: &'d NatGateway,
    path: &Path,
    ids: &Ids<'_>,
    document: &Document,
) -> Vec<Place<'d>> {
    let primary_wish = Wish {
        path: path.key("private_ip_address"),
        address: gateway.private_ip_address.map(IpAddr::V4),
    };
    let is_ipv4 = |id: &AllocationId| {
        ids.allocations.get(id).is_none_or(|place| document.address[place].public_ip.is_ipv4())
    };
    let mut primary_wish = Some(primary_wish);
    let named = path.key("allocation_ids");
    let mut places: Vec<_> = Vec::new();
    for (position, id) in gateway.allocation_ids.iter().enumerate() {
        let (at, is_ipv4) = (named.index(position), is_ipv4(id));
        let primary_wish = if is_ipv4 { primary_wish.take() } else { None };
        places.push(Place {
            is_ipv4,
            wish: primary_wish.unwrap_or_else(|| Wish { path: at.clone(), address: None }),
            allocation: Some((id, at)),
            is_draining: false,
        });
    }
    if let Some(wish) = primary_wish {
        let alone = Place { is_ipv4: true, allocation: None, is_draining: false, wish };
        places.insert(0, alone);
    }
    let named = path.key("secondary_address");
    for (position, secondary) in gateway.secondary_address.iter().enumerate() {
        let at = named.index(position);
        let private = secondary.private_ip_address;
        let is_ipv4 = match &secondary.allocation_id {
            Some(id) => is_ipv4(id),
            None => private.is_none_or(|it| it.is_ipv4()),
        };
        places.push(Place {
            is_ipv4,
            wish: Wish {
                path: at.key("private_ip_address"),
                // One of the other family is reported where the address is associated.
                address: private.filter(|it| it.is_ipv4() == is_ipv4),
            },
            allocation: secondary.allocation_id.as_ref().map(|id| (id, at.key("allocation_id"))),
            is_draining: secondary.drain_until.is_some(),
        });
    }
    places
}

/// What the gateway's interface wants of each family.
pub(super) fn wishes(places: Vec<Place<'_>>) -> (Vec<Wish>, Vec<Wish>) {
    let (v4, v6): (Vec<_>, Vec<_>) = places.into_iter().partition(|place| place.is_ipv4);
    let wish = |place: Place<'_>| place.wish;
    (v4.into_iter().map(wish).collect(), v6.into_iter().map(wish).collect())
}

/// Each place with the private address of the interface in it. One that could not be chosen has
/// been reported.
pub(super) fn occupied<'p, 'd>(
    places: &'p [Place<'d>],
    eni: &Eni,
) -> Vec<(&'p Place<'d>, Option<IpAddr>)> {
    let mut v4 = eni.private_ips.iter().copied().map(IpAddr::V4);
    let mut v6 = eni.ipv6_addresses.iter().copied().map(IpAddr::V6);
    let mut next = |is_ipv4: bool| if is_ipv4 { v4.next() } else { v6.next() };
    places.iter().map(|place| (place, next(place.is_ipv4))).collect()
}

/// What the gateway translates to, in the order of the document.
pub(super) fn addresses(
    connectivity_type: ConnectivityType,
    places: &[Place<'_>],
    eni: &Eni,
) -> Vec<NatAddress> {
    let all = occupied(places, eni).into_iter();
    all.filter_map(|(place, private_ip)| {
        let (private_ip, is_draining) = (private_ip?, place.is_draining);
        let public_ip = eni.public_ip_of(private_ip);
        let is_one = match connectivity_type {
            ConnectivityType::Public => public_ip.is_some(),
            ConnectivityType::Private => true,
        };
        is_one.then_some(NatAddress { private_ip, public_ip, is_draining })
    })
    .collect()
}
