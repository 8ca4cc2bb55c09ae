//! What `inspect` says of the shared networks: the sheet's multiply-adds and bounds, and every file is read.

use tersor_data::npz;
use tersor_data::testing::{self, Failure, Trials};
use tersor_network::reference::unsupported;
use tersor_tiny::inspect::inspect;
use tersor_tiny::{network, profile};

/// Model, operators, MACs, bound as the file stands, bound in place (the sheet's table 0.5).
const BOUNDS: [(&str, usize, u64, u64, u64); 6] = [
    ("resnet8_cifar10_int8", 16, 12_501_632, 49_152, 49_152),
    ("dscnn_kws_int8", 13, 2_656_768, 16_000, 16_000),
    ("mobilenetv1_vww96_int8", 31, 7_489_664, 55_296, 55_296),
    ("autoencoder_ad_int8", 10, 264_192, 768, 768),
    ("mcunet_vww1_int8", 63, 11_578_816, 161_472, 89_600),
    ("mcunet_persondet_int8", 79, 18_296_320, 337_024, 245_760),
];

fn main() {
    let mut trials = Trials::new();
    for (name, operators, macs, bound, lower) in BOUNDS {
        let file = format!("tiny/{name}.tflite");
        trials = trials.needs(&[&file]).test(&format!("{name}_has_the_published_costs_and_bounds"), move || {
            let found = inspect(&network::read(testing::file(&file)?)?);
            assert_eq!(found.operators.len(), operators);
            assert_eq!(found.macs, macs);
            assert_eq!((found.bound_bytes, found.lower_bound_bytes), (bound, lower));
            assert_eq!(found.bound_bytes, found.operators[found.bound_operator].live_bytes);
            assert!(found.runnable && found.unsupported.is_empty());
            Ok(())
        });
    }
    trials
        .needs(&["generation/pretrainedResnet.tflite"])
        .test("a_float_network_is_read_and_runnable", || {
            let found = inspect(&network::read(testing::file("generation/pretrainedResnet.tflite")?)?);
            assert!(found.runnable, "{:?}", found.unsupported);
            assert_eq!(found.macs, 12_501_632);
            assert_eq!(found.bound_bytes, 4 * 49_152);
            Ok(())
        })
        .needs(&["tiny/mcunet_5fps_int8.json"])
        .test("a_graph_file_is_read_and_runnable", || {
            let found = inspect(&network::read(testing::file("tiny/mcunet_5fps_int8.json")?)?);
            assert!(found.runnable, "{:?}", found.unsupported);
            assert!(found.macs > 20_000_000 && found.parameters > 400_000);
            Ok(())
        })
        .needs(&["tiny/resnet8_cifar10_int8.tflite"])
        .test("the_profile_is_an_svg_with_both_bounds", profile_is_drawn)
        .needs(&[])
        .test("what_cannot_run_is_named_and_the_rest_still_counted", foreign_operator)
        .run()
}

fn profile_is_drawn() -> Result<(), Failure> {
    let found = inspect(&network::read(testing::file("tiny/resnet8_cifar10_int8.tflite")?)?);
    let svg = profile::svg(&found)?;
    assert!(svg.starts_with("<svg") && svg.contains("49152 B"));
    // Two bars an operator, besides the legend.
    assert!(svg.matches("<rect").count() >= 2 * found.operators.len());
    Ok(())
}

/// A file of one operator, renamed to one that nobody has: read, counted, and named as the fault.
fn foreign_operator() -> Result<(), Failure> {
    let golden = npz::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../network/tests/golden/operators.npz"))?;
    let model = golden.read("c000_model")?;
    let mut network = network::tflite::from_bytes("foreign", model.elements().as_u8().ok_or("no bytes")?)?;
    let node = &mut network.graphs[0].nodes[0];
    node.operator = network::operator::Operator::Other { name: "TFLite_Detection_PostProcess".into(), custom: true };
    let found = inspect(&network);
    assert!(!found.runnable);
    assert_eq!(found.unsupported, unsupported(&network));
    assert_eq!(
        (found.unsupported[0].index, found.unsupported[0].operator.as_str()),
        (0, "TFLite_Detection_PostProcess")
    );
    assert!(found.unsupported[0].why.contains("CONV_2D"), "the supported operators are listed");
    assert!(found.bound_bytes > 0);
    Ok(())
}
