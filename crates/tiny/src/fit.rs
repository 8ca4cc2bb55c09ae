//! Does it fit, and if not, what would?

use serde::Serialize;
use tersor_network::Network;

use crate::error::Error;
use crate::plan::{self, InputMode, Plan, Search};

/// Bytes of Flash that the kernels' code is allowed beside the data.
pub const CODE_BYTES: u64 = 24 * 1024;

/// The cheapest plan that fits, or the smallest that could.
#[derive(Debug, Clone, Serialize)]
pub struct Fit {
    /// Whether both memories suffice.
    pub fits: bool,
    /// SRAM given.
    pub sram_bytes: u64,
    /// Flash given.
    pub flash_bytes: u64,
    /// Flash needed: data, and an allowance for code.
    pub flash_needed: u64,
    /// What to change if it does not fit, or what the plan asks of the caller.
    pub advice: Vec<String>,
    /// The plan.
    pub plan: Plan,
}

/// Fits `network` into `sram` and `flash` bytes: layers first, then parts with the image resident, then streamed.
///
/// # Errors
/// [`Error::Plan`] if the network cannot be planned.
pub fn fit(network: &Network, sram: u64, flash: u64) -> Result<Fit, Error> {
    let mut smallest: Option<Plan> = None;
    for input in [InputMode::Resident, InputMode::Streamed] {
        let (plan, _) = plan::search(network, Search { input, sram: Some(sram), ..Search::default() })?;
        if smallest.as_ref().is_none_or(|s| plan.peak_bytes < s.peak_bytes) {
            smallest = Some(plan);
        }
        if smallest.as_ref().is_some_and(|s| s.peak_bytes as u64 <= sram) {
            break;
        }
    }
    let no_plan = || Error::Plan { network: network.name.clone(), why: "it has no plan".into() };
    let plan = smallest.ok_or_else(no_plan)?;
    let flash_needed = plan.flash_bytes + CODE_BYTES;
    let mut advice = Vec::new();
    if plan.peak_bytes as u64 > sram {
        advice.push(format!(
            "SRAM: the smallest plan found takes {} bytes, {} more than there are; a smaller input image or narrower \
             first layers would help",
            plan.peak_bytes,
            plan.peak_bytes as u64 - sram
        ));
    }
    if flash_needed > flash {
        advice.push(format!(
            "Flash: data and code take {flash_needed} bytes, {} more than there are; fewer parameters would help",
            flash_needed - flash
        ));
    }
    if plan.patches.is_some() && plan.input == InputMode::Streamed {
        advice.push("the caller feeds the image by rows or crops (it is not stored whole)".into());
    }
    let fits = plan.peak_bytes as u64 <= sram && flash_needed <= flash;
    Ok(Fit { fits, sram_bytes: sram, flash_bytes: flash, flash_needed, advice, plan })
}
