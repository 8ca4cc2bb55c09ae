//! A program, compiled and run: on the host under sanitizers, and on emulated Cortex-M processors.
//!
//! On each it must give the test vector's outputs to the bit. The arena is read off its symbol, the stack off painted
//! words, code and constants off the object file, and instructions off the processor's timer while qemu counts one
//! nanosecond for each (`-icount shift=0`). These are instruction counts, not cycles: a chip waits for its Flash.
//!
//! A tool that is missing is named; the rest is verified all the same.

mod rust;

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::Serialize;

use super::{Emission, Target};
use crate::error::Error;

/// A processor that qemu emulates, on a board of Arm's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Chip {
    /// The processor, as compilers call it.
    pub name: &'static str,
    /// qemu's board.
    pub machine: &'static str,
    /// Picoseconds of a tick of its timer.
    #[serde(skip)]
    tick: u64,
    /// What the compiler is told of floating point; the vector unit hangs on it.
    #[serde(skip)]
    float: &'static str,
    /// Start and length of the vectors' memory, Flash and RAM.
    #[serde(skip)]
    memory: [[u32; 2]; 3],
}

/// The processors.
pub const CHIPS: [Chip; 3] = [
    Chip {
        name: "cortex-m4",
        machine: "mps2-an386",
        tick: 40_000,
        float: "soft",
        memory: [[0, 0x400], [0x400, 0x3f_fc00], [0x2000_0000, 0x40_0000]],
    },
    Chip {
        name: "cortex-m7",
        machine: "mps2-an500",
        tick: 40_000,
        float: "soft",
        memory: [[0, 0x400], [0x400, 0x3f_fc00], [0x2000_0000, 0x40_0000]],
    },
    Chip {
        name: "cortex-m55",
        machine: "mps3-an547",
        tick: 31_250,
        float: "hard",
        memory: [[0x1000_0000, 0x400], [0x1100_0000, 0x20_0000], [0x3100_0000, 0x20_0000]],
    },
];

/// Bytes of RAM that the linker keeps for the stack of a test program.
const STACK: usize = 16 << 10;

/// Warnings are errors.
const STRICT: [&str; 6] = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror"];

/// What is not used is not linked.
const SECTIONS: [&str; 2] = ["-ffunction-sections", "-fdata-sections"];

/// The longest that a program may run.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a program did where it ran.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// `host`, or the processor.
    pub place: &'static str,
    /// The tool that is missing, and what brings it. Where the program could be built, its sizes are known all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// What the program said if it was wrong, or why it could not be built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong: Option<String>,
    /// Size of the arena's symbol.
    pub arena_bytes: Option<u64>,
    /// High-water mark of the painted stack.
    pub stack_bytes: Option<u64>,
    /// Machine code of the model and its kernels.
    pub code_bytes: Option<u64>,
    /// Constants of the model.
    pub constant_bytes: Option<u64>,
    /// Flash of the least program that runs the model: start-up and library included.
    pub flash_bytes: Option<u64>,
    /// Static RAM of that program, the arena included, the stack not.
    pub ram_bytes: Option<u64>,
    /// Instructions of the longest run of the test vector.
    pub instructions: Option<u64>,
}

impl Run {
    fn at(place: &'static str) -> Self {
        Self {
            place,
            missing: None,
            wrong: None,
            arena_bytes: None,
            stack_bytes: None,
            code_bytes: None,
            constant_bytes: None,
            flash_bytes: None,
            ram_bytes: None,
            instructions: None,
        }
    }

    fn stopped(self, by: Obstacle) -> Self {
        match by {
            Obstacle::Missing(what) => Self { missing: Some(what), ..self },
            Obstacle::Wrong(what) => Self { wrong: Some(what), ..self },
        }
    }

    /// Whether it ran, and gave every bit.
    pub fn is_equal(&self) -> bool {
        self.missing.is_none() && self.wrong.is_none()
    }
}

/// Why a step did not succeed.
enum Obstacle {
    Missing(String),
    Wrong(String),
}

/// Every place where a program may run: this machine, and the [`CHIPS`].
pub const PLACES: [&str; 4] = ["host", "cortex-m4", "cortex-m7", "cortex-m55"];

/// Compiles what was written to `folder`, and runs it at those of `places` that this machine can offer, side by side.
///
/// # Errors
/// [`Error::Output`] if the folder of the build cannot be made.
pub fn verify(emission: &Emission, folder: &Path, places: &[&str]) -> Result<Vec<Run>, Error> {
    let build = folder.join("build");
    std::fs::create_dir_all(&build)
        .map_err(|e| Error::Output { file: build.clone(), why: format!("cannot be made: {e}") })?;
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.into());
    let on_host = || match emission.target {
        Target::C => on_host(&folder),
        Target::Rust => rust::on_host(&folder),
    };
    let on_chip = |chip: &Chip| match emission.target {
        Target::C => on_chip(&folder, chip),
        Target::Rust => rust::on_chip(&folder, chip),
    };
    let one = |place: &&str| match CHIPS.iter().find(|chip| chip.name == *place) {
        Some(found) => Some(on_chip(found).unwrap_or_else(|obstacle| Run::at(found.name).stopped(obstacle))),
        None if *place == "host" => Some(on_host().unwrap_or_else(|obstacle| Run::at("host").stopped(obstacle))),
        None => None,
    };
    Ok(places.par_iter().filter_map(one).collect())
}

/// That a tool is missing, and which of Debian's packages brings it.
fn not_installed(program: &str) -> String {
    let package = match program {
        "gcc" | "cc" => "gcc",
        "qemu-system-arm" => "qemu-system-arm",
        "rustc" => "rustc-web",
        _ if program.starts_with("arm-none-eabi-") => "gcc-arm-none-eabi and libnewlib-arm-none-eabi",
        _ => return format!("{program} is not installed"),
    };
    format!("{program} is not installed (Debian: {package})")
}

/// A file that comes with newlib, which the cross compiler does without; gcc says no more than its name if it has none.
fn newlib(folder: &Path, flags: &[&str], file: &str) -> Result<String, Obstacle> {
    let asked = format!("-print-file-name={file}");
    let said = tool(folder, "arm-none-eabi-gcc", &[flags, &[&asked]].concat())?;
    match said.trim() {
        found if found == file => {
            Err(Obstacle::Missing(format!("newlib's {file} is not installed (Debian: libnewlib-arm-none-eabi)")))
        }
        found => Ok(found.into()),
    }
}

/// Runs a tool in `folder`, and gives what it said.
fn tool(folder: &Path, program: &str, arguments: &[&str]) -> Result<String, Obstacle> {
    let child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Obstacle::Missing(not_installed(program)),
        _ => Obstacle::Wrong(format!("{program}: {e}")),
    })?;
    // Both ends are read at once, lest one fills up; a program that hangs is ended.
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let read = |from: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(from) = from {
                // A program that says more than this says nothing of use.
                let _ = from.take(1 << 20).read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let out = read(out.map(|o| Box::new(o) as Box<dyn std::io::Read + Send>));
    let err = read(err.map(|e| Box::new(e) as Box<dyn std::io::Read + Send>));
    let start = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(2)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    let said = out.join().unwrap_or_default() + &err.join().unwrap_or_default();
    match status {
        Some(status) if status.success() => Ok(said),
        Some(status) => Err(Obstacle::Wrong(format!("{program} ended with {status}:\n{}", said.trim_end()))),
        None => Err(Obstacle::Wrong(format!("{program} did not end within {} s", PATIENCE.as_secs()))),
    }
}

/// The program must say `ok`, and nothing that went wrong.
fn said_ok(said: &str) -> Result<(), Obstacle> {
    if said.lines().any(|line| line == "ok") { Ok(()) } else { Err(Obstacle::Wrong(said.trim_end().into())) }
}

/// The number after a word that the program said.
fn said_number(said: &str, word: &str) -> Option<u64> {
    said.lines().find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
}

fn on_host(folder: &Path) -> Result<Run, Obstacle> {
    let program = folder.join("build/check-host");
    let program = program.to_str().ok_or_else(|| Obstacle::Wrong("the folder's name is no text".into()))?;
    let sanitize = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    let sources = ["model.c", "check.c", "host.c", "-o", program];
    tool(folder, "gcc", &[&STRICT[..], &sanitize, &sources].concat())?;
    said_ok(&tool(folder, program, &[])?)?;
    Ok(Run::at("host"))
}

/// What the compiler is told of a chip.
fn chip_flags(chip: &Chip) -> Vec<String> {
    vec![format!("-mcpu={}", chip.name), "-mthumb".into(), format!("-mfloat-abi={}", chip.float), "-O2".into()]
}

/// How a program for a chip is put together.
fn link_flags(chip: &Chip) -> Vec<String> {
    let script = format!("{}.ld", chip.name);
    ["-nostartfiles", "-specs=nano.specs", "-Wl,--gc-sections", "-T", &script].map(String::from).to_vec()
}

fn on_chip(folder: &Path, chip: &Chip) -> Result<Run, Obstacle> {
    const GCC: &str = "arm-none-eabi-gcc";
    newlib(folder, &[], "nano.specs")?;
    let flags = chip_flags(chip);
    let strict: Vec<&str> = STRICT.into_iter().chain(flags.iter().map(String::as_str)).collect();
    let object = format!("build/model-{}.o", chip.name);
    tool(folder, GCC, &[&strict[..], &SECTIONS, &["-c", "model.c", "-o", &object]].concat())?;
    let sections = tool(folder, "arm-none-eabi-size", &["-A", &object])?;
    let of = |prefix: &str| -> u64 {
        let sizes = sections.lines().filter(|line| line.starts_with(prefix));
        sizes.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
    };
    let link = link_flags(chip);
    let link: Vec<&str> = link.iter().map(String::as_str).collect();
    let program = |main: &str| -> Result<String, Obstacle> {
        let out = format!("build/{main}-{}.elf", chip.name);
        let source = format!("{main}.c");
        tool(folder, GCC, &[&strict[..], &SECTIONS, &[&object, &source, "startup.c", "-o", &out], &link].concat())?;
        Ok(out)
    };
    let (check, example) = (program("check")?, program("example")?);
    let symbols = tool(folder, "arm-none-eabi-nm", &["-S", &check])?;
    let arena = symbols.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words.as_slice(), [_, _, _, "arena"]).then(|| u64::from_str_radix(words[1], 16).ok())?
    });
    let sizes = tool(folder, "arm-none-eabi-size", &[&example])?;
    let sizes: Vec<u64> =
        sizes.lines().nth(1).unwrap_or_default().split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let built = Run {
        arena_bytes: arena,
        code_bytes: Some(of(".text")),
        constant_bytes: Some(of(".rodata")),
        flash_bytes: sizes.first().zip(sizes.get(1)).map(|(text, data)| text + data),
        ram_bytes: sizes.get(1).zip(sizes.get(2)).map(|(data, bss)| data + bss),
        ..Run::at(chip.name)
    };
    Ok(emulated(folder, chip, &check, built))
}

/// What is known of a program once it has run in qemu, where it must say that all is right.
fn emulated(folder: &Path, chip: &Chip, program: &str, built: Run) -> Run {
    const SETTINGS: &str = "-display none -monitor none -serial none -icount shift=0 -semihosting-config \
                            enable=on,target=native";
    let machine = ["-M", chip.machine, "-kernel", program];
    let settings: Vec<&str> = SETTINGS.split_whitespace().chain(machine).collect();
    let said = tool(folder, "qemu-system-arm", &settings);
    match said.and_then(|said| said_ok(&said).map(|()| said)) {
        Ok(said) => Run {
            stack_bytes: said_number(&said, "stack "),
            // None beyond the 24 bits of SysTick: the program says no number then.
            instructions: said_number(&said, "ticks ").map(|ticks| ticks * chip.tick / 1000),
            ..built
        },
        Err(obstacle) => built.stopped(obstacle),
    }
}

/// The linker's script of every chip.
pub(super) fn memories() -> Vec<(String, String)> {
    let script = |chip: &Chip| {
        let mut text = format!("/* {} of {}. */\nSTACK = {STACK};\n\nMEMORY\n{{\n", chip.name, chip.machine);
        for (name, [start, length]) in ["VECTORS", "FLASH", "RAM"].into_iter().zip(chip.memory) {
            let _ = writeln!(text, "    {name} : ORIGIN = {start:#x}, LENGTH = {length:#x}");
        }
        text += "}\n\nINCLUDE link.ld\n";
        (format!("{}.ld", chip.name), text)
    };
    CHIPS.iter().map(script).collect()
}

/// Builds and checks what `verify` builds and checks.
pub(super) fn makefile() -> String {
    let mut text = String::from("# make check: on this machine. make check-cortex-m4 (-m7, -m55): in qemu.\n");
    let strict = STRICT.join(" ");
    let _ = write!(
        text,
        "STRICT = {strict}\nARM = arm-none-eabi-gcc\n\nbuild/check-host: model.c check.c host.c model.h kernels.h\n\tmkdir -p build\n\t$(CC) $(STRICT) -O1 -fsanitize=address,undefined model.c check.c host.c -o $@\n\ncheck: build/check-host\n\t./build/check-host\n\nclean:\n\trm -rf build\n\n.PHONY: check clean\n"
    );
    for chip in &CHIPS {
        let (name, machine) = (chip.name, chip.machine);
        let flags = [chip_flags(chip), SECTIONS.map(String::from).to_vec()].concat().join(" ");
        let link = link_flags(chip).join(" ");
        let _ = write!(
            text,
            "\nbuild/%-{name}.elf: model.c %.c startup.c model.h kernels.h\n\tmkdir -p build\n\t$(ARM) $(STRICT) {flags} model.c $*.c startup.c -o $@ {link}\n\ncheck-{name}: build/check-{name}.elf\n\tqemu-system-arm -M {machine} -display none -monitor none -serial none -icount shift=0 \\\n\t\t-semihosting-config enable=on,target=native -kernel $<\n\n.PHONY: check-{name}\n"
        );
    }
    text
}
