//! Tables of layers.

use tersor::compress::account::Account;
use tersor::network::float::Layer;

use crate::cli::quantity::{bytes, thousands};
use crate::cli::show::table;

/// Weights and bytes, layer by layer.
pub fn accounts(account: &Account) -> String {
    let mut rows = table(["=weights of", "shape", ">weights", ">kept", ">density", ">bytes", ">as the paper counts"]);
    for layer in &account.layers {
        rows.add_row([
            layer.tensor.clone(),
            layer.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x"),
            thousands(layer.weights as u64),
            thousands(layer.kept as u64),
            format!("{:.1} %", 100.0 * layer.density),
            bytes(layer.sparse_bytes as u64),
            bytes(layer.paper_bytes as u64),
        ]);
    }
    rows.add_row([
        "all".into(),
        String::new(),
        thousands(account.weights as u64),
        thousands(account.kept as u64),
        format!("{:.1} %", 100.0 * account.kept as f64 / account.weights.max(1) as f64),
        bytes(account.sparse_bytes as u64),
        bytes(account.paper_bytes as u64),
    ]);
    format!("{}\n", rows.trim_fmt())
}

/// Which kernel computes each layer, and why; sparse kernels are chosen below the density of break-even.
pub fn kernels(layers: &[Layer]) -> String {
    let mut rows = table(["=weights of", ">density", ">MAC", ">kept", ">break-even", "kernel", "why"]);
    for layer in layers {
        rows.add_row([
            layer.name.clone(),
            format!("{:.1} %", 100.0 * layer.density),
            thousands(layer.macs),
            thousands(layer.macs_kept),
            format!("{:.0} %", 100.0 * layer.break_even),
            layer.kernel.to_string(),
            layer.why.clone(),
        ]);
    }
    format!("{}\n", rows.trim_fmt())
}
