"""tflite-micro's firmware for a network on a Cortex-M4: Flash, SRAM and instructions, beside Tersor's.

    cargo build --release
    cargo new --lib sources && cd sources && cargo add tfmicro@0.1.0 && cargo vendor && cd ..
    python3 bench/peers/tiny_firmware.py --tersor target/release/tersor --crate sources/vendor/tfmicro [--json] MODEL.tflite...

The crate `tfmicro` carries tflite-micro's sources of autumn 2020: reference kernels, without TRANSPOSE (networks that need
it are reported as such). They are compiled as its makefile asked then, soft floating point, error texts stripped: the
interpreter for size (-Os), kernels for speed (-O2). The program resolves only the network's operators, and its arena is as
small as it works. Needs gcc-arm-none-eabi, libstdc++-arm-none-eabi-newlib and qemu-system-arm.

Flash is text + read-only data + initial data, the model's file included; SRAM is the arena and all other static data, and
leaves out the stack, which is painted and given apart. Instructions are what qemu counts for one Invoke (`-icount shift=0`),
read off the board's timer of 25 MHz: instructions, not cycles. Tersor's column is `emit --target c --verify` by layers.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

FLAGS = (
    "-mcpu=cortex-m4 -mthumb -mfloat-abi=soft -funsigned-char -ffunction-sections -fdata-sections -fmessage-length=0 "
    "-fno-unwind-tables -fno-asynchronous-unwind-tables -fomit-frame-pointer -w -DTF_LITE_STATIC_MEMORY -DNDEBUG "
    "-DTF_LITE_STRIP_ERROR_STRINGS -DGEMMLOWP_ALLOW_SLOW_SCALAR_FALLBACK -fno-delete-null-pointer-checks"
).split()
CPP = "-std=c++11 -fno-rtti -fno-exceptions -fno-threadsafe-statics -fno-use-cxa-atexit -fpermissive".split()

LINK = """
MEMORY { CODE (rx) : ORIGIN = 0, LENGTH = 4M  RAM (rwx) : ORIGIN = 0x20000000, LENGTH = 4M }
ENTRY(reset)
SECTIONS {
  .text : { KEEP(*(.vectors)) *(.text*) *(.init) *(.fini) } > CODE
  .rodata : { *(.rodata*) . = ALIGN(4); init_begin = .; KEEP(*(.init_array*)) init_end = .; } > CODE
  .ARM.extab : { *(.ARM.extab*) } > CODE
  .ARM.exidx : { *(.ARM.exidx*) } > CODE
  .data : { . = ALIGN(4); data_begin = .; *(.data*) . = ALIGN(4); data_end = .; } > RAM AT> CODE
  data_load = LOADADDR(.data);
  .bss (NOLOAD) : { . = ALIGN(4); bss_begin = .; *(.bss*) *(COMMON) . = ALIGN(4); bss_end = .; end = .; } > RAM
  stack_end = ORIGIN(RAM) + LENGTH(RAM);
}
"""

# Inputs that no kernel can shortcut; a checksum (FNV-1a) of all outputs, to compare with another build.
MAIN = """
#include <stdint.h>
#include "tensorflow/lite/core/api/error_reporter.h"
#include "tensorflow/lite/micro/kernels/micro_ops.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

extern "C" {
extern const unsigned char model_data[];
extern uint32_t data_begin, data_end, data_load, bss_begin, bss_end, stack_end;
extern void (*init_begin[])(void);
extern void (*init_end[])(void);
}
alignas(16) static unsigned char arena[ARENA];

static void semihost(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

static void leave(uint32_t code)
{
    uint32_t block[2] = {0x20026u, code};
    for (;;) semihost(0x20, block);
}

struct Silent : tflite::ErrorReporter {
    int Report(const char *, va_list) override { return 0; }
};

#ifdef REPORT
static void say(const char *what, uint32_t value)
{
    char text[40], digits[12];
    int n = 0, k = 0;
    while (*what) text[n++] = *what++;
    do { digits[k++] = (char)('0' + value % 10); value /= 10; } while (value);
    while (k) text[n++] = digits[--k];
    text[n++] = 10;
    text[n] = 0;
    semihost(0x04, text);
}
#endif

int main(void)
{
    static Silent silent;
    static tflite::MicroMutableOpResolver<OPERATORS> resolver;
    const int any = tflite::MicroOpResolverAnyVersion();
    (void)any;
    REGISTER
    static tflite::MicroInterpreter interpreter(tflite::GetModel(model_data), resolver, arena, ARENA, &silent);
    if (interpreter.AllocateTensors() != kTfLiteOk) leave(5);
    TfLiteTensor *in = interpreter.input(0);
    bool real = in->type == kTfLiteFloat32;
    for (size_t i = 0; i < in->bytes / (real ? 4 : 1); i++) {
        int value = (int)(i * 37 % 201) - 100;
        if (real) in->data.f[i] = (float)value / 100.0f;
        else in->data.int8[i] = (int8_t)value;
    }
#ifdef REPORT
    volatile uint32_t *timer = (volatile uint32_t *)0x40000000u;
    timer[2] = timer[1] = 0xffffffffu;
    timer[0] = 1;
    uint32_t start = timer[1];
#endif
    if (interpreter.Invoke() != kTfLiteOk) leave(6);
#ifdef REPORT
    say("ticks ", start - timer[1]);
    say("arena ", (uint32_t)interpreter.arena_used_bytes());
    uint32_t sum = 2166136261u;
    for (size_t o = 0; o < interpreter.outputs_size(); o++)
        for (size_t i = 0; i < interpreter.output(o)->bytes; i++)
            sum = (sum ^ interpreter.output(o)->data.uint8[i]) * 16777619u;
    say("checksum ", sum);
    uint32_t *at = &stack_end - 16384;
    while (*at == 0xa5a5a5a5u) at++;
    say("stack ", (uint32_t)((char *)&stack_end - (char *)at));
#endif
    leave(0);
}

extern "C" {
void *__dso_handle;
void reset(void)
{
    uint32_t *to = &data_begin, *from = &data_load, *here;
    while (to < &data_end) *to++ = *from++;
    for (to = &bss_begin; to < &bss_end;) *to++ = 0;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    for (to = &stack_end - 16384; to < here - 8;) *to++ = 0xa5a5a5a5u;
    for (void (**f)(void) = init_begin; f < init_end; f++) (*f)();
    main();
}
void trap(void) { leave(2); }
void _exit(int code) { leave((uint32_t)code); }
void _kill(void) {}
int _getpid(void) { return 1; }
void *_sbrk(int) { return (void *)-1; }
int _write(void) { return 0; }
int _read(void) { return 0; }
int _close(void) { return 0; }
int _lseek(void) { return 0; }
int _fstat(void) { return 0; }
int _isatty(void) { return 1; }
void __cxa_pure_virtual(void) { leave(9); }
void DebugLog(const char *) {}
__attribute__((section(".vectors"), used)) const void *const vectors[16] = {
    &stack_end, (void *)reset, (void *)trap, (void *)trap, (void *)trap, (void *)trap, (void *)trap};
}
"""


def command(arguments, **settings):
    run = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, **settings)
    return run.returncode, run.stdout + run.stderr


def checked(arguments):
    code, said = command(arguments)
    if code:
        sys.exit(f"{arguments[0]} failed:\n{said[-2000:]}")
    return said


def library(crate, work):
    """The interpreter and every kernel; the linker takes what is used. Gives the library and where headers lie."""
    root = crate / "submodules" / "tensorflow"
    lite = root / "tensorflow" / "lite"
    downloads = lite / "micro" / "tools" / "make" / "downloads"
    headers = [f"-I{p}" for p in (root, downloads, downloads / "gemmlowp", downloads / "flatbuffers" / "include", downloads / "ruy")]
    core = [*lite.glob("micro/*.cc"), *lite.glob("micro/memory_planner/*.cc"), *lite.glob("core/api/*.cc")]
    core += [lite / "c" / "common.c", lite / "kernels" / "kernel_util.cc", lite / "kernels" / "internal" / "quantization_util.cc"]
    kernels = list(lite.glob("micro/kernels/*.cc"))
    unwanted = re.compile(r"_test\.cc$|test_helpers|debug_log\.cc$")
    objects = []

    def build(item):
        source, level = item
        target = work / (str(source.relative_to(root)).replace("/", "_") + ".o")
        compiler = ["arm-none-eabi-gcc", "-std=c11"] if source.suffix == ".c" else ["arm-none-eabi-g++", *CPP]
        checked([*compiler, level, *FLAGS, *headers, "-c", source, "-o", target])
        return target

    items = [(s, "-Os") for s in core] + [(s, "-O2") for s in kernels]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(build, [i for i in items if not unwanted.search(i[0].name)]))
    archive = work / "libtflm.a"
    checked(["arm-none-eabi-ar", "rcs", archive, *objects])
    return archive, headers, (lite / "micro" / "kernels" / "micro_ops.h").read_text()


def emulated(program):
    settings = "-M mps2-an386 -display none -monitor none -serial none -icount shift=0 -semihosting-config enable=on,target=native"
    return command(["qemu-system-arm", *settings.split(), "-kernel", program], timeout=600)


def peer(model, operators, archive, headers, known, work):
    missing = [o for o in operators if f"Register_{o}()" not in known]
    if missing:
        return {"missing": missing}
    register = "\n    ".join(
        f"resolver.AddBuiltin(tflite::BuiltinOperator_{o}, tflite::ops::micro::Register_{o}(), any);" for o in operators
    )
    main = work / "main.cc"
    main.write_text(MAIN.replace("REGISTER", register).replace("OPERATORS", str(len(operators))))
    data = work / "model.s"
    data.write_text(f'.section .rodata.model, "a"\n.global model_data\n.balign 16\nmodel_data: .incbin "{os.path.abspath(model)}"\n')
    script = work / "link.ld"
    script.write_text(LINK)

    def program(arena, *more):
        out = work / "program.elf"
        flags = [*CPP, "-Os", f"-DARENA={arena}", *more, *FLAGS, *headers]
        link = ["-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", f"-T{script}", "-lm", "-lc", "-lgcc"]
        checked(["arm-none-eabi-g++", *flags, main, data, archive, *link, "-o", out])
        return out

    code, said = emulated(program(1 << 20, "-DREPORT"))
    number = {k: int(v) for k, v in re.findall(r"^(\w+) (\d+)$", said, re.M)}
    if code or "arena" not in number:
        return {"failed": f"exit {code}: {said.strip()[-200:]}"}
    # What allocation takes for a while is not counted in what is used afterwards: the least arena that works.
    low, high = 0, number["arena"] + 8192
    while high - low > 16:
        middle = (low + high) // 32 * 16
        low, high = (low, middle) if emulated(program(middle))[0] == 0 else (middle, high)
    out = program(high)
    if emulated(out)[0]:
        return {"failed": "no small arena works"}
    sizes = {n: int(s) for n, s in re.findall(r"^(\.\S+)\s+(\d+)", checked(["arm-none-eabi-size", "-A", out]), re.M)}
    size = os.path.getsize(model)
    flash = sum(sizes.get(s, 0) for s in (".text", ".rodata", ".data", ".ARM.exidx", ".ARM.extab"))
    return {
        "flash_bytes": flash,
        "model_bytes": size,
        "code_bytes": flash - size,
        "sram_bytes": sizes.get(".bss", 0) + sizes.get(".data", 0),
        "arena_bytes": high,
        "stack_bytes": number["stack"],
        "instructions": 40 * number["ticks"],
        "checksum": number["checksum"],
    }


def ours(tersor, model):
    with tempfile.TemporaryDirectory() as folder:
        code, said = command([tersor, "tiny", "emit", model, "--target", "c", "--verify", "--json", "-o", folder])
        found = re.search(r"^\{.*^\}", said, re.M | re.S)
        runs = json.loads(found.group(0))["runs"] if found else []
        runs = [r for r in runs if r["place"] == "cortex-m4" and r.get("flash_bytes")]
        keys = ("flash_bytes", "ram_bytes", "stack_bytes", "instructions")
        return {k: runs[0][k] for k in keys} if runs else {"failed": said.strip()[-200:]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tersor", required=True, help="the program `tersor`")
    parser.add_argument("--crate", required=True, type=pathlib.Path, help="folder of the crate tfmicro's sources")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("models", nargs="+")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        archive, headers, known = library(asked.crate, work)
        for model in asked.models:
            said = subprocess.run([asked.tersor, "tiny", "inspect", model, "--json"], capture_output=True, text=True, check=True)
            operators = sorted({o["operator"] for o in json.loads(said.stdout)["operators"]})
            result = {"tflm": peer(model, operators, archive, headers, known, work), "tersor": ours(asked.tersor, model)}
            rows.append({"model": os.path.basename(model), **result})
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    print("network | TFLM Flash (model) | SRAM | stack | instructions | Tersor Flash | SRAM | stack | instructions")
    for row in rows:
        a, b = row["tflm"], row["tersor"]
        theirs = f"{a['flash_bytes']:,} ({a['model_bytes']:,}) | {a['sram_bytes']:,} | {a['stack_bytes']:,} | {a['instructions']:,}" if "flash_bytes" in a else f"{a} | | |"
        own = f"{b['flash_bytes']:,} | {b['ram_bytes']:,} | {b['stack_bytes']:,} | {b['instructions']:,}" if "flash_bytes" in b else f"{b} | | |"
        print(f"{row['model']} | {theirs} | {own}")


if __name__ == "__main__":
    main()
