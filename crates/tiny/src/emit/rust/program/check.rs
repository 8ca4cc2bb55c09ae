//! Checks the model on the host: says `ok`, or what differs.

#[path = "../check/vector.rs"]
mod vector;

fn main() {
    let mut model = Box::new(model::Model::new());
    model.reset();
    for (k, frame) in vector::FRAMES.iter().enumerate() {
        let outputs = vector::run(&mut model, frame);
        for (i, (output, expected)) in outputs.iter().zip(&frame.outputs).enumerate() {
            if let Some(at) = (0..expected.len()).find(|&at| output[at] != expected[at]) {
                println!("frame {k}: output {i} differs at {at}: {} for {}", output[at], expected[at]);
                std::process::exit(1);
            }
        }
    }
    println!("ok");
}
