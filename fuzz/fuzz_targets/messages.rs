//! Any bytes as what a site says: the first says how many vertices there are and how weights are written. What is
//! understood changes the sparsifier; the rest is refused with a reason.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tersor_graph::cluster::bits::Bits;
use tersor_graph::cluster::message::{Codec, Weights};
use tersor_graph::cluster::sparsifier::Sparsifier;

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, content)) = bytes.split_first() else { return };
    let vertices = [0, 1, 2, 3, 5, 64, 1000, 1 << 20][usize::from(choice) % 8];
    let weights = match choice / 8 % 4 {
        0 => Weights::NONE,
        1 => Weights::F32,
        2 => Weights::new(8).unwrap(),
        _ => Weights::new(64).unwrap(),
    };
    let codec = Codec::new(vertices, weights);
    let bits = Bits::from_bytes(content.to_vec(), 8 * content.len() as u64).unwrap();
    let mut updates = bits.read();
    while updates.left() > 0 && codec.read_update(&mut updates).is_ok() {}

    // Two sites take turns: each says a quarter of the bits, up to an END that it may or may not hold.
    let mut sparsifier = Sparsifier::new(vertices, 2);
    for (turn, part) in content.chunks(content.len().div_ceil(4).max(1)).enumerate() {
        for length in (8 * part.len() as u64).saturating_sub(7)..=8 * part.len() as u64 {
            let Some(bits) = Bits::from_bytes(part.to_vec(), length) else { continue };
            match sparsifier.hear(&codec, turn % 2, &bits) {
                Ok(tally) => assert_eq!(tally.all_bits(), length),
                Err(reason) => assert!(!reason.is_empty()),
            }
        }
    }
    let known = sparsifier.graph();
    assert!(known.list().all(|edge| edge.u < edge.v && (edge.v as usize) < vertices && edge.weight > 0.0));
    assert_eq!(sparsifier.edges(), (0..2).map(|site| sparsifier.part(site).iter().count()).sum::<usize>());
});
