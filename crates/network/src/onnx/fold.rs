//! Shapes that the file computes from shapes: short vectors of integers, known as soon as the shapes are.
//!
//! Exporters write `Shape → Slice → Concat → Reshape` where they mean "as many rows as there are images". Such values are
//! resolved when the file is read, for the inputs' shapes at hand.

use tersor_data::Elements;

use super::translate::Attributes;
use crate::graph::Tensor;

/// Longest vector that is taken for a shape.
const LONGEST: usize = 1024;
/// What is computed on shapes.
const OPERATORS: [&str; 8] = ["Add", "Cast", "Concat", "Div", "Gather", "Mul", "Slice", "Sub"];

/// A vector of integers, or one alone: its shape, and the numbers.
type Vector = (Vec<usize>, Vec<i64>);

/// What an operator gives, if it computes on shapes and its operands are known.
pub(super) fn fold(
    operator: &str,
    attributes: &Attributes,
    operands: &[Option<&Tensor>],
) -> Result<Option<Vector>, String> {
    if operator == "Shape" {
        let &[Some(x)] = operands else { return Ok(None) };
        let rank = x.shape.len() as i64;
        let at = |n: i64| (if n < 0 { n.saturating_add(rank) } else { n }).clamp(0, rank) as usize;
        let (start, end) = (at(attributes.int("start", 0)?), at(attributes.int("end", rank)?));
        let lengths: Vec<i64> =
            x.shape.get(start..end.max(start)).unwrap_or_default().iter().map(|&n| n as i64).collect();
        return Ok(Some((vec![lengths.len()], lengths)));
    }
    // The lengths first: a short file may name one long vector very often.
    let numbers = operands.iter().map(|t| t.map_or(0, Tensor::len)).fold(0usize, usize::saturating_add);
    if !OPERATORS.contains(&operator) || operands.len().max(numbers) > LONGEST {
        return Ok(None);
    }
    let vectors: Option<Vec<(&[usize], Vec<i64>)>> = operands.iter().map(|t| vector((*t)?)).collect();
    let Some(vectors) = vectors else { return Ok(None) };
    let found = match (operator, vectors.as_slice()) {
        // 6 and 7: int32 and int64.
        ("Cast", [(shape, x)]) if matches!(attributes.int("to", 0)?, 6 | 7) => Some((shape.to_vec(), x.clone())),
        ("Gather", [([n], x), (shape, at)]) if attributes.int("axis", 0)? == 0 => {
            let n = *n as i64;
            let picked =
                at.iter().map(|&i| x.get(usize::try_from(if i < 0 { i.saturating_add(n) } else { i }).ok()?).copied());
            let picked = picked.collect::<Option<Vec<i64>>>();
            let picked = picked.ok_or_else(|| format!("indices {at:?} do not lie within {n} elements"))?;
            Some((shape.to_vec(), picked))
        }
        ("Concat", parts) if parts.iter().all(|(shape, _)| shape.len() == 1) => {
            let joined: Vec<i64> = parts.iter().flat_map(|(_, x)| x).copied().collect();
            Some((vec![joined.len()], joined))
        }
        ("Slice", [([n], x), rest @ ..]) => {
            let one = |i: usize, name: &str, otherwise: i64| match rest.get(i).map(|(_, v)| v.as_slice()) {
                Some(&[number]) => Some(number),
                Some(_) => None,
                None => match attributes.ints(name).ok()?.as_deref() {
                    Some(&[number]) => Some(number),
                    Some(_) => None,
                    None => Some(otherwise),
                },
            };
            let n = *n as i64;
            let at = |i: i64| (if i < 0 { i.saturating_add(n) } else { i }).clamp(0, n) as usize;
            match (one(0, "starts", 0), one(1, "ends", n), one(2, "axes", 0), one(3, "steps", 1)) {
                (Some(start), Some(end), Some(0 | -1), Some(1)) => {
                    let part = x.get(at(start)..at(end).max(at(start))).unwrap_or_default().to_vec();
                    Some((vec![part.len()], part))
                }
                _ => None,
            }
        }
        ("Add" | "Sub" | "Mul" | "Div", [a, b]) => {
            let f = |a: i64, b: i64| match operator {
                "Add" => a.checked_add(b),
                "Sub" => a.checked_sub(b),
                "Mul" => a.checked_mul(b),
                _ => a.checked_div(b),
            };
            let longer = if a.1.len() >= b.1.len() && a.0.len() >= b.0.len() { a } else { b };
            let fits = |v: &[i64]| v.len() == longer.1.len() || v.len() == 1;
            (fits(&a.1) && fits(&b.1))
                .then(|| {
                    let number = |v: &[i64], i: usize| v[if v.len() == 1 { 0 } else { i }];
                    let numbers = (0..longer.1.len()).map(|i| f(number(&a.1, i), number(&b.1, i)));
                    Some((longer.0.to_vec(), numbers.collect::<Option<Vec<i64>>>()?))
                })
                .flatten()
        }
        _ => None,
    };
    Ok(found)
}

/// The shape and the numbers of a constant that may be a shape.
fn vector(tensor: &Tensor) -> Option<(&[usize], Vec<i64>)> {
    let numbers = match tensor.constant.as_deref()? {
        Elements::I64(v) if v.len() <= LONGEST => v.clone(),
        Elements::I32(v) if v.len() <= LONGEST => v.iter().map(|&x| i64::from(x)).collect(),
        _ => return None,
    };
    (tensor.shape.len() <= 1).then_some((&tensor.shape, numbers))
}
