//! Records of known traffic, on an engine over the reference fast path.
