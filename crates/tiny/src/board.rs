//! Common boards, and what a plan would take on one.

use serde::Serialize;

use crate::plan::Plan;

/// A microcontroller as one buys it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Board {
    /// The name on the command line.
    pub name: &'static str,
    /// Chip and core.
    pub chip: &'static str,
    /// Bytes of SRAM that one buffer may take.
    pub sram: u64,
    /// Bytes of Flash.
    pub flash: u64,
    /// Clock in MHz.
    pub clock: u64,
    /// Multiply-adds per cycle, for the estimate of latency.
    pub macs_per_cycle: f64,
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * 1024;

/// SRAM is the largest single buffer, which on some chips is less than all SRAM; sizes and clocks are written from general
/// knowledge of the chips, not read off one, so check the data sheet of yours. Multiply-adds per cycle: Cortex-M7 from the
/// 82 M MAC/s that TinyEngine is reported to reach on an STM32F746; the other cores are guesses beside it.
pub const BOARDS: [Board; 11] = [
    board("stm32f746", "STM32F746, Cortex-M7", 320 * KIB, MIB, 216, 0.38),
    board("stm32h743", "STM32H743, Cortex-M7", 512 * KIB, 2 * MIB, 480, 0.38),
    board("stm32f412", "STM32F412, Cortex-M4", 256 * KIB, MIB, 100, 0.25),
    board("stm32l4r5", "STM32L4R5, Cortex-M4", 640 * KIB, 2 * MIB, 120, 0.25),
    board("nrf52840", "nRF52840, Cortex-M4", 256 * KIB, MIB, 64, 0.25),
    board("k64f", "MK64F, Cortex-M4", 192 * KIB, MIB, 120, 0.25),
    board("rp2040", "RP2040, Cortex-M0+", 256 * KIB, 2 * MIB, 133, 0.06),
    board("rp2350", "RP2350, Cortex-M33", 512 * KIB, 4 * MIB, 150, 0.25),
    board("esp32", "ESP32, Xtensa LX6", 160 * KIB, 4 * MIB, 240, 0.10),
    board("esp32-s3", "ESP32-S3, Xtensa LX7", 320 * KIB, 8 * MIB, 240, 0.30),
    board("max32660", "MAX32660, Cortex-M4", 96 * KIB, 256 * KIB, 96, 0.25),
];

const fn board(
    name: &'static str,
    chip: &'static str,
    sram: u64,
    flash: u64,
    clock: u64,
    macs_per_cycle: f64,
) -> Board {
    Board { name, chip, sram, flash, clock, macs_per_cycle }
}

/// The board called `name`.
pub fn named(name: &str) -> Option<&'static Board> {
    BOARDS.iter().find(|b| b.name.eq_ignore_ascii_case(name))
}

impl Board {
    /// An estimate of one run's time in seconds: multiply-adds only, no measurement.
    pub fn estimated_seconds(&self, plan: &Plan) -> f64 {
        (plan.macs + plan.extra_macs) as f64 / (self.macs_per_cycle * self.clock as f64 * 1e6)
    }
}
