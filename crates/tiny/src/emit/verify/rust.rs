//! A Rust program, compiled and run: on the host with overflow checks, and on emulated Cortex-M processors.
//!
//! For a chip, a compiler needs `core` built for it. Where the toolchain brings it (`rustup target add`), that one is used.
//! Elsewhere it is built once from the compiler's own sources (Debian: `rustc-web` and `rust-web-src`; rustup: `rust-src`),
//! with an empty `compiler_builtins`, and kept in the user's cache by the compiler's commit; what it would have held comes
//! from `libgcc` and newlib, which come with `gcc-arm-none-eabi`.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tersor_data::fetch::Cache;

use super::{Chip, Obstacle, Run, emulated, newlib, not_installed, said_ok, tool};

/// A compiler that can make programs for a chip.
#[derive(Clone)]
struct Compiler {
    program: String,
    /// Folder of `libcore.rlib` and `libcompiler_builtins.rlib`, if they are not the toolchain's own.
    core: Option<PathBuf>,
}

/// What stands in for the crate that `core` expects.
const COMPILER_BUILTINS: &str = "#![feature(compiler_builtins)]\n#![compiler_builtins]\n#![no_std]\n";

/// The crate's name, as its manifest says.
fn crate_name(folder: &Path) -> Result<String, Obstacle> {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml"));
    let name =
        |text: String| text.lines().find_map(|l| Some(l.strip_prefix("name = \"")?.trim_end_matches('"').to_owned()));
    manifest.ok().and_then(name).ok_or_else(|| Obstacle::Wrong("Cargo.toml has no name".into()))
}

pub(super) fn on_host(folder: &Path) -> Result<Run, Obstacle> {
    let name = crate_name(folder)?;
    let checks = "--edition 2021 -D warnings -C opt-level=1 -C overflow-checks=on -C debug-assertions=on";
    let checks: Vec<&str> = checks.split_whitespace().collect();
    let library = format!("build/lib{name}.rlib");
    tool(
        folder,
        "rustc",
        &[&checks[..], &["--crate-type=lib", "--crate-name", &name, "src/lib.rs", "-o", &library]].concat(),
    )?;
    let known = format!("{name}={library}");
    let program = folder.join("build/check-host");
    let program = program.to_str().ok_or_else(|| Obstacle::Wrong("the folder's name is no text".into()))?;
    let linked =
        tool(folder, "rustc", &[&checks[..], &["--extern", &known, "examples/check.rs", "-o", program]].concat());
    linked.map_err(|obstacle| match obstacle {
        // What rustc links with is a tool like any other.
        Obstacle::Wrong(said) if said.contains("linker `cc` not found") => Obstacle::Missing(not_installed("cc")),
        other => other,
    })?;
    said_ok(&tool(folder, program, &[])?)?;
    Ok(Run::at("host"))
}

/// The target that a chip's programs are made for; without floating point there is no other.
fn target(chip: &Chip) -> &'static str {
    if chip.name == "cortex-m55" { "thumbv8m.main-none-eabi" } else { "thumbv7em-none-eabi" }
}

pub(super) fn on_chip(folder: &Path, chip: &Chip) -> Result<Run, Obstacle> {
    let name = crate_name(folder)?;
    let compiler = compiler(target(chip))?;
    let mut flags: Vec<String> = ["--edition", "2021", "-D", "warnings", "--target", target(chip), "-C", "panic=abort"]
        .map(String::from)
        .to_vec();
    flags.extend(["-C".into(), format!("target-cpu={}", chip.name), "-C".into(), "opt-level=s".into()]);
    if let Some(core) = &compiler.core {
        flags.extend(["-L".into(), core.display().to_string()]);
        for part in ["core", "compiler_builtins"] {
            flags.extend(["--extern".into(), format!("{part}={}", core.join(format!("lib{part}.rlib")).display())]);
        }
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let library = format!("build/lib{name}-{}.rlib", chip.name);
    let make = ["--crate-type=lib", "--crate-name", &name, "src/lib.rs", "-o", &library];
    tool(folder, &compiler.program, &[&flags[..], &make].concat())?;

    // What newlib and libgcc hold for this chip.
    let cpu = format!("-mcpu={}", chip.name);
    let cpu = [cpu.as_str(), "-mthumb", "-mfloat-abi=soft"];
    let libc = format!("link-arg={}", newlib(folder, &cpu, "libc.a")?);
    let libgcc = tool(folder, "arm-none-eabi-gcc", &[&cpu[..], &["-print-libgcc-file-name"]].concat())?;
    let libgcc = format!("link-arg={}", libgcc.trim());
    let script = if chip.name == "cortex-m55" { "mps3-an547" } else { "cortex-m" };
    let script = format!("link-arg=-Tcheck/{script}.ld");
    let link = ["linker=arm-none-eabi-ld", "linker-flavor=ld", &script, &libc, &libgcc];
    let link: Vec<&str> = link.iter().flat_map(|l| ["-C", *l]).collect();
    let program = |main: &str| -> Result<String, Obstacle> {
        let out = format!("build/{main}-{}.elf", chip.name);
        let known = format!("{name}={library}");
        let source = format!("check/{main}.rs");
        tool(folder, &compiler.program, &[&flags[..], &link, &["--extern", &known, &source, "-o", &out]].concat())?;
        Ok(out)
    };
    let (check, smallest) = (program("firmware")?, program("smallest")?);
    let symbols = tool(folder, "arm-none-eabi-nm", &["-S", &check])?;
    let arena = symbols.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words.as_slice(), [_, _, _, "MODEL"]).then(|| u64::from_str_radix(words[1], 16).ok())?
    });
    let sections = tool(folder, "arm-none-eabi-size", &["-A", &smallest])?;
    let of = |names: &[&str]| -> u64 {
        let sizes = sections.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let sizes = sizes.filter(|words| words.first().is_some_and(|name| names.contains(name)));
        sizes.filter_map(|words| words.get(1)?.parse::<u64>().ok()).sum()
    };
    let built = Run {
        arena_bytes: arena,
        code_bytes: Some(of(&[".text"])),
        constant_bytes: Some(of(&[".rodata"])),
        flash_bytes: Some(of(&[".vectors", ".text", ".rodata", ".data"])),
        ram_bytes: Some(of(&[".data", ".bss"])),
        ..Run::at(chip.name)
    };
    Ok(emulated(folder, chip, &check, built))
}

/// The first `rustc` on the path that has `core` for `target`, or its sources.
fn compiler(target: &str) -> Result<Compiler, Obstacle> {
    // Built once, even if several ask at the same time.
    static KNOWN: Mutex<Vec<(String, Compiler)>> = Mutex::new(Vec::new());
    let mut known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((_, compiler)) = known.iter().find(|(t, _)| t == target) {
        return Ok(compiler.clone());
    }
    let here = Path::new(".");
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let programs = std::env::split_paths(&paths).map(|folder| folder.join("rustc")).filter(|p| p.is_file());
    let programs: Vec<String> = programs.filter_map(|p| Some(p.to_str()?.to_owned())).collect();
    let own = |program: &String| {
        let folder = tool(here, program, &["--print", "target-libdir", "--target", target]).ok()?;
        let mut files = std::fs::read_dir(folder.trim()).ok()?.flatten();
        let has = files.any(|f| f.file_name().to_string_lossy().starts_with("libcore-"));
        has.then(|| Compiler { program: program.clone(), core: None })
    };
    let sources = |program: &String| {
        let root = tool(here, program, &["--print", "sysroot"]).ok()?;
        let library = Path::new(root.trim()).join("lib/rustlib/src/rust/library");
        library.join("core/src/lib.rs").is_file().then(|| (program.clone(), library))
    };
    let found = match programs.iter().find_map(own) {
        Some(compiler) => compiler,
        None => {
            let (program, library) = programs.iter().find_map(sources).ok_or_else(|| {
                Obstacle::Missing(format!(
                    "no rustc on the path has `core` for {target}, nor its sources (rustup target add {target}, or Debian's \
                     rustc-web with rust-web-src)"
                ))
            })?;
            let core = build_core(&program, &library, target)?;
            Compiler { program, core: Some(core) }
        }
    };
    known.push((target.into(), found.clone()));
    Ok(found)
}

/// The folder of `core`, from the cache or built: half a minute.
fn build_core(program: &str, library: &Path, target: &str) -> Result<PathBuf, Obstacle> {
    let wrong = |what: &str, e: &dyn std::fmt::Display| Obstacle::Wrong(format!("{what}: {e}"));
    let version = tool(Path::new("."), program, &["-vV"])?;
    let word = |key: &str| version.lines().find_map(|l| l.strip_prefix(key)).unwrap_or("unknown").trim();
    let cache = Cache::new().map_err(|e| wrong("the cache", &e))?;
    let folder = cache.root().join("rust-core").join(format!("{}-{}-{target}", word("release:"), word("commit-hash:")));
    if folder.join("libcompiler_builtins.rlib").is_file() {
        return Ok(folder);
    }
    let parent = folder.parent().unwrap_or(cache.root());
    std::fs::create_dir_all(parent).map_err(|e| wrong("the cache", &e))?;
    let work = tempfile::Builder::new().prefix(".core-").tempdir_in(parent).map_err(|e| wrong("the cache", &e))?;
    let manifest = std::fs::read_to_string(library.join("core/Cargo.toml")).unwrap_or_default();
    let edition = manifest.lines().find_map(|l| l.strip_prefix("edition = ")).unwrap_or("2021").trim_matches('"');
    let builtins = work.path().join("compiler_builtins.rs");
    std::fs::write(&builtins, COMPILER_BUILTINS).map_err(|e| wrong("the cache", &e))?;
    let text = |path: &Path| path.display().to_string();
    // Only a compiler that is told so builds its own library.
    let build = |name: &str, edition: &str, source: &Path, more: &[&str]| {
        let (source, out) = (text(source), text(work.path()));
        let flags = "-C opt-level=s -C panic=abort -Z force-unstable-if-unmarked --cap-lints allow --crate-type rlib";
        let named = ["--edition", edition, "--crate-name", name, "--target", target, "--out-dir", &out, &source];
        let flags: Vec<&str> =
            ["RUSTC_BOOTSTRAP=1", program].into_iter().chain(flags.split(' ')).chain(named).collect();
        tool(work.path(), "env", &[&flags[..], more].concat())
    };
    build("core", edition, &library.join("core/src/lib.rs"), &[])?;
    let known = format!("core={}", text(&work.path().join("libcore.rlib")));
    build("compiler_builtins", "2021", &builtins, &["--extern", &known])?;
    // Whoever was first has the same.
    let path = work.keep();
    if std::fs::rename(&path, &folder).is_err() {
        let _ = std::fs::remove_dir_all(&path);
    }
    if folder.join("libcompiler_builtins.rlib").is_file() {
        Ok(folder)
    } else {
        Err(Obstacle::Wrong(format!("{} cannot be kept", folder.display())))
    }
}
