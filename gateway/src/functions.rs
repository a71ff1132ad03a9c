//! The network functions of this gateway.

use lambda_bridge::LambdaBridge;
use nat::Nat;
use nf_core::flow::Claims;
use nf_core::pipeline::Function;
use nf_core::vpc::InterfaceType;
use nlb::Nlb;

/// All functions, in the order the engine numbers them. Each draws its own random numbers.
#[must_use]
pub fn all(seed: u64) -> Vec<Box<dyn Function>> {
    vec![
        Box::new(Nat::new(seed)),
        Box::new(Nlb::new(seed.wrapping_add(1))),
        Box::new(LambdaBridge::new(seed.wrapping_add(2))),
    ]
}

/// The names of functions, by the engine's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Vec<&'static str>);

impl Names {
    /// Of these functions.
    #[must_use]
    pub fn of(functions: &[Box<dyn Function>]) -> Self {
        Self(functions.iter().map(|function| name(function.interface_type())).collect())
    }

    /// Those that a flow passes, in its order.
    pub fn passed(&self, claims: &Claims) -> impl Iterator<Item = &'static str> {
        claims.iter().filter_map(|(ix, _)| self.0.get(usize::from(ix.0)).copied())
    }
}

const fn name(interface_type: InterfaceType) -> &'static str {
    match interface_type {
        InterfaceType::NatGateway => "nat",
        InterfaceType::NetworkLoadBalancer => "nlb",
        InterfaceType::Lambda => "lambda_bridge",
        InterfaceType::Interface | InterfaceType::Efa | InterfaceType::EfaOnly => "instance",
    }
}

#[cfg(test)]
mod tests {
    use nf_core::pipeline::{Claim, FunctionIx};

    use super::*;

    #[test]
    fn a_flow_names_the_functions_it_passes_in_its_own_order() {
        let names = Names::of(&all(1));
        let mut claims = Claims::default();
        assert!(claims.push(FunctionIx(2), Claim(0)));
        assert!(claims.push(FunctionIx(0), Claim(7)));
        assert_eq!(names.passed(&claims).collect::<Vec<_>>(), ["lambda_bridge", "nat"]);
    }
}
