//! Shim
#![allow(missing_docs)]
pub fn policy_in_words(_p: &quire_proto::v1::Policy) -> String {
    String::new()
}
