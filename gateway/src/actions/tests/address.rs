//! Elastic IP addresses.

use serde_json::{Value, json};

use super::{Bench, on, texts};

#[test]
fn an_address_is_the_lowest_free_one_of_a_pool_or_the_one_asked_for() {
    let mut bench = Bench::new();
    let allocated = bench.act("AllocateAddress", json!({ "allocation_id": "eipalloc-x" }));
    assert_eq!(
        allocated,
        json!({
            "public_ip": "203.0.113.9", "allocation_id": "eipalloc-x",
            "public_ipv4_pool": "ipv4pool-ec2-a", "domain": "vpc",
        })
    );
    let chosen = bench.act(
        "AllocateAddress",
        json!({
            "address": "203.0.113.11", "public_ipv4_pool": "ipv4pool-ec2-a", "domain": "vpc",
            "tag_specifications": [
                { "resource_type": "elastic-ip", "tags": [{ "key": "k", "value": "v" }] },
            ],
        }),
    );
    assert_eq!(chosen["public_ip"], "203.0.113.11");
    let id = &chosen["allocation_id"];
    let told = bench.act("DescribeAddresses", json!({ "allocation_ids": [id] }));
    assert_eq!(told["addresses"][0]["tags"], json!([{ "key": "k", "value": "v" }]));
    assert_eq!(told["addresses"][0]["public_ipv4_pool"], "ipv4pool-ec2-a");

    bench.act("AllocateAddress", json!({}));
    assert_eq!(bench.refused("AllocateAddress", json!({})), "InsufficientAddressCapacity");
    bench.act("ReleaseAddress", json!({ "public_ip": "203.0.113.11" }));
    let again = bench.act("AllocateAddress", json!({}));
    assert_eq!(again["public_ip"], "203.0.113.11");
    assert_ne!(again["allocation_id"], *id);
}

#[test]
fn an_address_that_cannot_be_had_is_refused() {
    let mut bench = Bench::new();
    for (parameters, code) in [
        (json!({ "address": "203.0.113.8" }), "InvalidIPAddress.InUse"),
        (json!({ "address": "198.51.100.1" }), "InvalidParameterValue"),
        (json!({ "public_ipv4_pool": "ipv4pool-ec2-x" }), "InvalidPublicIpv4PoolID.NotFound"),
        (json!({ "public_ipv4_pool": "x" }), "InvalidPublicIpv4PoolID.Malformed"),
        (json!({ "domain": "standard" }), "InvalidParameterValue"),
        (json!({ "allocation_id": "eipalloc-web" }), "InvalidParameterValue"),
    ] {
        assert_eq!(bench.refused("AllocateAddress", parameters.clone()), code, "{parameters}");
    }
    bench.document.public_ipv4_pool.clear();
    assert_eq!(bench.refused("AllocateAddress", json!({})), "InsufficientAddressCapacity");
}

#[test]
fn an_association_moves_and_makes_room_unless_that_is_not_allowed() {
    let mut bench = Bench::new();
    bench.act("AllocateAddress", json!({ "allocation_id": "eipalloc-x" }));
    let to_two = |allow: bool| {
        json!({
            "allocation_id": "eipalloc-web", "network_interface_id": "eni-two",
            "allow_reassociation": allow,
        })
    };
    assert_eq!(bench.refused("AssociateAddress", to_two(false)), "Resource.AlreadyAssociated");
    bench.act("AssociateAddress", to_two(true));
    assert_eq!(bench.association("eipalloc-web"), on("eni-two", "10.0.1.5"));
    bench.act("AssociateAddress", to_two(false));
    assert_eq!(bench.association("eipalloc-web"), on("eni-two", "10.0.1.5"), "it is there already");

    // A private address has one: the other makes room and stays allocated.
    let also_to_two = |allow: bool| {
        json!({
            "public_ip": "203.0.113.9", "network_interface_id": "eni-two",
            "private_ip_address": "10.0.1.5", "allow_reassociation": allow,
        })
    };
    assert_eq!(bench.refused("AssociateAddress", also_to_two(false)), "Resource.AlreadyAssociated");
    bench.act("AssociateAddress", also_to_two(true));
    assert_eq!(bench.association("eipalloc-x"), on("eni-two", "10.0.1.5"));
    assert_eq!(bench.association("eipalloc-web"), None);
}

#[test]
fn an_association_names_one_address_and_one_place() {
    let mut bench = Bench::new();
    let eni = "eni-two";
    for (parameters, code) in [
        (json!({ "network_interface_id": eni }), "MissingParameter"),
        (json!({ "allocation_id": "eipalloc-web" }), "MissingParameter"),
        (
            json!({
                "allocation_id": "eipalloc-web", "public_ip": "203.0.113.8",
                "network_interface_id": eni,
            }),
            "InvalidParameterCombination",
        ),
        (
            json!({
                "allocation_id": "eipalloc-web", "instance_id": "i-two",
                "network_interface_id": eni,
            }),
            "InvalidParameterCombination",
        ),
        (
            json!({ "allocation_id": "eipalloc-none", "network_interface_id": eni }),
            "InvalidAllocationID.NotFound",
        ),
        (
            json!({ "public_ip": "203.0.113.99", "network_interface_id": eni }),
            "InvalidAddress.NotFound",
        ),
        (
            json!({ "allocation_id": "eipalloc-web", "network_interface_id": "eni-none" }),
            "InvalidNetworkInterfaceID.NotFound",
        ),
        (
            json!({
                "allocation_id": "eipalloc-web", "network_interface_id": eni,
                "private_ip_address": "10.0.1.99",
            }),
            "InvalidParameterValue",
        ),
        (json!({ "allocation_id": "eipalloc-web", "instance_id": "i-one" }), "InvalidInstanceID"),
        (
            json!({ "allocation_id": "eipalloc-nat", "network_interface_id": eni }),
            "Resource.AlreadyAssociated",
        ),
    ] {
        assert_eq!(bench.refused("AssociateAddress", parameters.clone()), code, "{parameters}");
    }
    bench.act(
        "AssociateAddress",
        json!({ "allocation_id": "eipalloc-web", "instance_id": "i-two" }),
    );
    assert_eq!(bench.association("eipalloc-web"), on("eni-two", "10.0.1.5"));
}

#[test]
fn a_vpc_without_an_internet_gateway_has_no_public_addresses() {
    let mut bench = Bench::new();
    bench.act(
        "CreateNetworkInterface",
        json!({ "subnet_id": "subnet-b", "network_interface_id": "eni-b" }),
    );
    assert_eq!(
        bench.refused(
            "AssociateAddress",
            json!({ "allocation_id": "eipalloc-web", "network_interface_id": "eni-b" })
        ),
        "Gateway.NotAttached"
    );
}

#[test]
fn an_association_that_was_is_not_the_one_that_is() {
    let mut bench = Bench::new();
    let id = |bench: &mut Bench| -> Value {
        let told = bench.act("DescribeAddresses", json!({ "public_ips": ["203.0.113.8"] }));
        told["addresses"][0]["association_id"].clone()
    };
    let old = id(&mut bench);
    assert_eq!(bench.interface("eni-web")["association"]["association_id"], old);
    let associated = bench.act(
        "AssociateAddress",
        json!({ "allocation_id": "eipalloc-web", "network_interface_id": "eni-two" }),
    );
    assert_eq!(associated["association_id"], id(&mut bench));
    assert_ne!(associated["association_id"], old);
    let code = bench.refused("DisassociateAddress", json!({ "association_id": old }));
    assert_eq!(code, "InvalidAssociationID.NotFound");
    bench.act("DisassociateAddress", json!({ "association_id": associated["association_id"] }));
    assert_eq!(bench.association("eipalloc-web"), None);
    assert_eq!(
        bench.refused("DisassociateAddress", json!({ "public_ip": "203.0.113.8" })),
        "InvalidAssociationID.NotFound"
    );
    assert_eq!(bench.refused("DisassociateAddress", json!({})), "MissingParameter");
    assert_eq!(
        bench.refused("DisassociateAddress", json!({ "public_ip": "203.0.113.20" })),
        "OperationNotPermitted",
        "a NAT gateway's stays"
    );
}

#[test]
fn an_address_that_is_in_use_is_not_released() {
    let mut bench = Bench::new();
    for parameters in
        [json!({ "allocation_id": "eipalloc-web" }), json!({ "allocation_id": "eipalloc-nat" })]
    {
        assert_eq!(bench.refused("ReleaseAddress", parameters), "InvalidIPAddress.InUse");
    }
    bench.act("DisassociateAddress", json!({ "public_ip": "203.0.113.8" }));
    bench.act("ReleaseAddress", json!({ "allocation_id": "eipalloc-web" }));
    let told = bench.act("DescribeAddresses", json!({}));
    assert_eq!(texts(&told["addresses"], "allocation_id"), ["eipalloc-nat"]);
    assert_eq!(told["addresses"][0]["private_ip_address"], "10.0.4.4");
    assert_eq!(
        bench.refused("DescribeAddresses", json!({ "allocation_ids": ["eipalloc-web"] })),
        "InvalidAllocationID.NotFound"
    );
}

#[test]
fn a_pool_tells_how_much_of_it_is_free() {
    let mut bench = Bench::new();
    let told = bench.act("DescribePublicIpv4Pools", json!({}));
    let pool = &told["public_ipv4_pools"][0];
    assert_eq!(pool["total_address_count"], 4);
    assert_eq!(pool["total_available_address_count"], 3);
    assert_eq!(pool["pool_address_ranges"][0]["first_address"], "203.0.113.8");
    assert_eq!(pool["pool_address_ranges"][0]["last_address"], "203.0.113.11");
}
