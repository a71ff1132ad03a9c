//! A reader of BTF (the kernel's `Documentation/bpf/btf.rst`), as far as structures and
//! enumerations go.

use std::collections::BTreeMap;

/// A structure: its size and where its members stand, in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Struct {
    pub size: usize,
    pub members: BTreeMap<String, usize>,
}

/// The named structures and enumerations of an object.
#[derive(Debug, Default)]
pub(super) struct Btf {
    pub structs: BTreeMap<String, Struct>,
    pub enums: BTreeMap<String, BTreeMap<String, u32>>,
}

/// Takes little-endian words from the front.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn next(&mut self) -> u32 {
        let (word, rest) = self.0.split_first_chunk().expect("BTF ends too early");
        self.0 = rest;
        u32::from_le_bytes(*word)
    }

    fn skip(&mut self, words: usize) {
        self.0 = &self.0[words * 4..];
    }
}

const STRUCT: u32 = 4;
const ENUM: u32 = 6;

impl Btf {
    pub(super) fn of(object: &[u8]) -> Self {
        let object = aya_obj::Object::parse(object).expect("the object");
        let bytes = object.btf.expect("the object has BTF").to_bytes();
        let mut header = Words(&bytes);
        header.skip(1); // magic, version, flags
        let header_len = header.next() as usize;
        let [type_at, type_len, string_at, string_len] =
            std::array::from_fn(|_| header.next() as usize);
        let types = &bytes[header_len + type_at..][..type_len];
        let strings = &bytes[header_len + string_at..][..string_len];
        let name = |offset: u32| {
            let bytes = strings[offset as usize..].split(|&byte| byte == 0).next().unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        };

        let mut btf = Self::default();
        let mut words = Words(types);
        while !words.0.is_empty() {
            let (own_name, info, size) = (name(words.next()), words.next(), words.next());
            let (kind, count) = (info >> 24 & 0x1f, info as usize & 0xffff);
            match kind {
                STRUCT => {
                    let member = |_| {
                        let (name, _type, bits) = (name(words.next()), words.next(), words.next());
                        (name, bits as usize / 8)
                    };
                    let members = (0..count).map(member).collect();
                    btf.structs.insert(own_name, Struct { size: size as usize, members });
                }
                ENUM => {
                    let variants = (0..count).map(|_| (name(words.next()), words.next()));
                    btf.enums.insert(own_name, variants.collect());
                }
                // Union; data section; enumeration of 64 bits.
                5 | 15 | 19 => words.skip(3 * count),
                // Function prototype.
                13 => words.skip(2 * count),
                // Array.
                3 => words.skip(3),
                // Integer; variable; declaration tag.
                1 | 14 | 17 => words.skip(1),
                // Those that only refer to another type.
                _ => {}
            }
        }
        btf
    }
}
