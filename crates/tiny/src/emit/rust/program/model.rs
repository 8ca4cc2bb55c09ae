/// The network, and the memory that it needs.
pub struct Model {
    arena: [i8; ARENA_BYTES],
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// An arena of zeros, which may lie in `.bss`.STREAMS
    pub const fn new() -> Self {
        Self { arena: [0; ARENA_BYTES] }
    }

    /// One inference. The outputs lie in the arena until the next.
    pub fn run(&mut self, ARGUMENTS) -> [&[i8]; OUTPUTS.len()] {
        self.run_streamed(&mut |rect, to| {
            COPIES
        })
    }

    /// One inference that asks for its inputs as it needs them: `read_rect` writes a rectangle, row by row.
    pub fn run_streamed(&mut self, read_rect: &mut dyn FnMut(Rect, &mut [i8])) -> [&[i8]; OUTPUTS.len()] {
        calls::run(&mut self.arena, read_rect);
        [RESULTS]
    }
