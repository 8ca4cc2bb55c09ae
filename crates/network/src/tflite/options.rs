//! Operator codes and option tables, in both directions.

use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};
use tersor_kernels::int8::Activation;
use tersor_kernels::window::Padding;
use tflite_schema as schema;
use tflite_schema::{BuiltinOperator as B, BuiltinOptions as O};

use crate::operator::{Operator, Pair, Pool};

/// Why an operator cannot be read: its name and what is wrong.
type Fault = (String, String);

/// The operator behind a code and its options.
///
/// An operator that is not supported, or carries an option that is not, becomes [`Operator::Other`].
pub(super) fn operator(code: schema::OperatorCode, from: schema::Operator) -> Result<Operator, Fault> {
    // Codes above 127 do not fit the old field, which then holds 127; older files leave the new one 0.
    let builtin = B(code.builtin_code().0.max(i32::from(code.deprecated_builtin_code())));
    if builtin == B::CUSTOM {
        return Ok(Operator::Other { name: code.custom_code().unwrap_or("CUSTOM").into(), custom: true });
    }
    let name = builtin.variant_name().map_or_else(|| format!("BUILTIN_{}", builtin.0), str::to_string);
    let fault = |why: String| (name.clone(), why);
    let missing = || fault("its options are missing".into());
    let number = |what: &str, n: i32| {
        usize::try_from(n).ok().filter(|&n| n > 0).ok_or_else(|| fault(format!("{what} is {n}, not a positive number")))
    };
    let pair = |what: &str, rows: i32, columns: i32| -> Result<Pair, Fault> {
        Ok([number(what, rows)?, number(what, columns)?])
    };
    let other = |why: String| Operator::Other { name: format!("{name} {why}"), custom: false };

    // An activation outside the int8 set leaves the operator unsupported, not the file unreadable.
    macro_rules! activation {
        ($options:expr) => {
            match $options.map_or(Some(Activation::None), |o| activation(o.fused_activation_function())) {
                Some(activation) => activation,
                None => return Ok(other("with a fused activation that is not supported".into())),
            }
        };
    }

    Ok(match builtin {
        B::ADD => Operator::Add { activation: activation!(from.builtin_options_as_add_options()) },
        B::SUB => Operator::Sub { activation: activation!(from.builtin_options_as_sub_options()) },
        B::MUL => Operator::Mul { activation: activation!(from.builtin_options_as_mul_options()) },
        B::MAXIMUM => Operator::Maximum,
        B::MINIMUM => Operator::Minimum,
        B::CONV_2D => {
            let o = from.builtin_options_as_conv_2_doptions().ok_or_else(missing)?;
            Operator::Conv2d {
                stride: pair("stride", o.stride_h(), o.stride_w())?,
                dilation: pair("dilation", o.dilation_h_factor(), o.dilation_w_factor())?,
                padding: padding(o.padding()).map_err(fault)?,
                activation: activation!(Some(o)),
            }
        }
        B::DEPTHWISE_CONV_2D => {
            // `depth_multiplier` is not kept: the shapes say it, and some converters write it wrongly.
            let o = from.builtin_options_as_depthwise_conv_2_doptions().ok_or_else(missing)?;
            Operator::DepthwiseConv2d {
                stride: pair("stride", o.stride_h(), o.stride_w())?,
                dilation: pair("dilation", o.dilation_h_factor(), o.dilation_w_factor())?,
                padding: padding(o.padding()).map_err(fault)?,
                activation: activation!(Some(o)),
            }
        }
        B::FULLY_CONNECTED => {
            let o = from.builtin_options_as_fully_connected_options();
            if o.is_some_and(|o| o.weights_format() != schema::FullyConnectedOptionsWeightsFormat::DEFAULT) {
                return Ok(other("with shuffled weights".into()));
            }
            Operator::FullyConnected { keep_num_dims: o.is_some_and(|o| o.keep_num_dims()), activation: activation!(o) }
        }
        B::AVERAGE_POOL_2D | B::MAX_POOL_2D => {
            let o = from.builtin_options_as_pool_2_doptions().ok_or_else(missing)?;
            let pool = Pool {
                kernel: pair("kernel", o.filter_height(), o.filter_width())?,
                stride: pair("stride", o.stride_h(), o.stride_w())?,
                padding: padding(o.padding()).map_err(fault)?,
                activation: activation!(Some(o)),
            };
            if builtin == B::MAX_POOL_2D { Operator::MaxPool2d(pool) } else { Operator::AveragePool2d(pool) }
        }
        B::MEAN => {
            Operator::Mean { keep_dims: from.builtin_options_as_reducer_options().is_some_and(|o| o.keep_dims()) }
        }
        B::SOFTMAX => Operator::Softmax { beta: from.builtin_options_as_softmax_options().map_or(1.0, |o| o.beta()) },
        B::LOGISTIC => Operator::Logistic,
        B::TANH => Operator::Tanh,
        B::RELU => Operator::Relu,
        B::RELU6 => Operator::Relu6,
        B::RELU_N1_TO_1 => Operator::ReluN1To1,
        B::LEAKY_RELU => {
            Operator::LeakyRelu { alpha: from.builtin_options_as_leaky_relu_options().ok_or_else(missing)?.alpha() }
        }
        B::PRELU => Operator::Prelu,
        B::HARD_SWISH => Operator::HardSwish,
        B::QUANTIZE => Operator::Quantize,
        B::DEQUANTIZE => Operator::Dequantize,
        B::RESIZE_NEAREST_NEIGHBOR => {
            let o = from.builtin_options_as_resize_nearest_neighbor_options();
            Operator::ResizeNearestNeighbor {
                align_corners: o.is_some_and(|o| o.align_corners()),
                half_pixel_centers: o.is_some_and(|o| o.half_pixel_centers()),
            }
        }
        B::RESIZE_BILINEAR => {
            let o = from.builtin_options_as_resize_bilinear_options();
            Operator::ResizeBilinear {
                align_corners: o.is_some_and(|o| o.align_corners()),
                half_pixel_centers: o.is_some_and(|o| o.half_pixel_centers()),
            }
        }
        B::PAD => Operator::Pad,
        B::PADV2 => Operator::PadV2,
        B::RESHAPE => Operator::Reshape {
            shape: from.builtin_options_as_reshape_options().and_then(|o| o.new_shape()).map(|s| s.iter().collect()),
        },
        B::SQUEEZE => Operator::Squeeze {
            axes: from
                .builtin_options_as_squeeze_options()
                .and_then(|o| o.squeeze_dims())
                .map_or_else(Vec::new, |axes| axes.iter().collect()),
        },
        B::EXPAND_DIMS => Operator::ExpandDims,
        B::TRANSPOSE => Operator::Transpose,
        B::STRIDED_SLICE => {
            let o = from.builtin_options_as_strided_slice_options().ok_or_else(missing)?;
            if o.offset() {
                return Ok(other("with end relative to begin".into()));
            }
            Operator::StridedSlice {
                begin_mask: o.begin_mask(),
                end_mask: o.end_mask(),
                ellipsis_mask: o.ellipsis_mask(),
                new_axis_mask: o.new_axis_mask(),
                shrink_axis_mask: o.shrink_axis_mask(),
            }
        }
        B::SLICE => Operator::Slice,
        B::SPLIT => {
            let o = from.builtin_options_as_split_options().ok_or_else(missing)?;
            Operator::Split { parts: number("the number of parts", o.num_splits())? }
        }
        B::SPLIT_V => {
            let o = from.builtin_options_as_split_voptions().ok_or_else(missing)?;
            Operator::SplitV { parts: number("the number of parts", o.num_splits())? }
        }
        B::PACK => Operator::Pack { axis: from.builtin_options_as_pack_options().map_or(0, |o| o.axis()) },
        B::UNPACK => Operator::Unpack { axis: from.builtin_options_as_unpack_options().map_or(0, |o| o.axis()) },
        B::CONCATENATION => {
            let o = from.builtin_options_as_concatenation_options();
            Operator::Concatenation { axis: o.map_or(0, |o| o.axis()), activation: activation!(o) }
        }
        B::CALL_ONCE => {
            let o = from.builtin_options_as_call_once_options().ok_or_else(missing)?;
            Operator::CallOnce { graph: number("the graph to call", o.init_subgraph_index())? }
        }
        B::VAR_HANDLE => {
            let o = from.builtin_options_as_var_handle_options().ok_or_else(missing)?;
            let text = |s: Option<&str>| s.unwrap_or_default().to_string();
            Operator::VarHandle { container: text(o.container()), name: text(o.shared_name()) }
        }
        B::READ_VARIABLE => Operator::ReadVariable,
        B::ASSIGN_VARIABLE => Operator::AssignVariable,
        _ => Operator::Other { name, custom: false },
    })
}

fn activation(from: schema::ActivationFunctionType) -> Option<Activation> {
    use schema::ActivationFunctionType as A;
    match from {
        A::NONE => Some(Activation::None),
        A::RELU => Some(Activation::Relu),
        A::RELU6 => Some(Activation::Relu6),
        A::RELU_N1_TO_1 => Some(Activation::ReluN1To1),
        _ => None,
    }
}

fn padding(from: schema::Padding) -> Result<[Padding; 2], String> {
    match from {
        schema::Padding::SAME => Ok([Padding::Same; 2]),
        schema::Padding::VALID => Ok([Padding::Valid; 2]),
        other => Err(format!("padding {} is neither SAME (0) nor VALID (1)", other.0)),
    }
}

/// The code of an operator, to be written; `None` for one that this project does not know by code.
pub(super) fn code(operator: &Operator) -> Option<B> {
    if matches!(operator, Operator::Other { .. }) {
        return None;
    }
    B::ENUM_VALUES.iter().copied().find(|b| b.variant_name() == Some(operator.name()))
}

/// Writes the options of `operator`.
///
/// # Errors
/// What TFLite cannot express: explicit padding.
pub(super) fn write_options<'b>(
    b: &mut FlatBufferBuilder<'b>,
    operator: &Operator,
) -> Result<(O, Option<WIPOffset<UnionWIPOffset>>), String> {
    macro_rules! table {
        ($kind:ident, $table:ident, $args:ident { $($field:ident: $value:expr),* $(,)? }) => {{
            #[allow(clippy::needless_update, reason = "some tables have no other fields")]
            let args = schema::$args { $($field: $value,)* ..Default::default() };
            (O::$kind, Some(schema::$table::create(b, &args).as_union_value()))
        }};
    }
    let act = fused;
    Ok(match operator {
        Operator::Add { activation } => {
            table!(AddOptions, AddOptions, AddOptionsArgs { fused_activation_function: act(*activation) })
        }
        Operator::Sub { activation } => {
            table!(SubOptions, SubOptions, SubOptionsArgs { fused_activation_function: act(*activation) })
        }
        Operator::Mul { activation } => {
            table!(MulOptions, MulOptions, MulOptionsArgs { fused_activation_function: act(*activation) })
        }
        Operator::Conv2d { stride, dilation, padding, activation } => table!(
            Conv2DOptions,
            Conv2DOptions,
            Conv2DOptionsArgs {
                padding: write_padding(*padding)?,
                stride_h: stride[0] as i32,
                stride_w: stride[1] as i32,
                dilation_h_factor: dilation[0] as i32,
                dilation_w_factor: dilation[1] as i32,
                fused_activation_function: act(*activation),
            }
        ),
        Operator::DepthwiseConv2d { stride, dilation, padding, activation } => table!(
            DepthwiseConv2DOptions,
            DepthwiseConv2DOptions,
            DepthwiseConv2DOptionsArgs {
                padding: write_padding(*padding)?,
                stride_h: stride[0] as i32,
                stride_w: stride[1] as i32,
                dilation_h_factor: dilation[0] as i32,
                dilation_w_factor: dilation[1] as i32,
                fused_activation_function: act(*activation),
            }
        ),
        Operator::FullyConnected { keep_num_dims, activation } => table!(
            FullyConnectedOptions,
            FullyConnectedOptions,
            FullyConnectedOptionsArgs { keep_num_dims: *keep_num_dims, fused_activation_function: act(*activation) }
        ),
        Operator::AveragePool2d(pool) | Operator::MaxPool2d(pool) => table!(
            Pool2DOptions,
            Pool2DOptions,
            Pool2DOptionsArgs {
                padding: write_padding(pool.padding)?,
                stride_h: pool.stride[0] as i32,
                stride_w: pool.stride[1] as i32,
                filter_height: pool.kernel[0] as i32,
                filter_width: pool.kernel[1] as i32,
                fused_activation_function: act(pool.activation),
            }
        ),
        Operator::Mean { keep_dims } => {
            table!(ReducerOptions, ReducerOptions, ReducerOptionsArgs { keep_dims: *keep_dims })
        }
        Operator::Softmax { beta } => table!(SoftmaxOptions, SoftmaxOptions, SoftmaxOptionsArgs { beta: *beta }),
        Operator::LeakyRelu { alpha } => {
            table!(LeakyReluOptions, LeakyReluOptions, LeakyReluOptionsArgs { alpha: *alpha })
        }
        Operator::ResizeNearestNeighbor { align_corners, half_pixel_centers } => table!(
            ResizeNearestNeighborOptions,
            ResizeNearestNeighborOptions,
            ResizeNearestNeighborOptionsArgs { align_corners: *align_corners, half_pixel_centers: *half_pixel_centers }
        ),
        Operator::ResizeBilinear { align_corners, half_pixel_centers } => table!(
            ResizeBilinearOptions,
            ResizeBilinearOptions,
            ResizeBilinearOptionsArgs { align_corners: *align_corners, half_pixel_centers: *half_pixel_centers }
        ),
        Operator::Reshape { shape: Some(shape) } => {
            let new_shape = Some(b.create_vector(shape));
            table!(ReshapeOptions, ReshapeOptions, ReshapeOptionsArgs { new_shape: new_shape })
        }
        Operator::Squeeze { axes } => {
            let squeeze_dims = Some(b.create_vector(axes));
            table!(SqueezeOptions, SqueezeOptions, SqueezeOptionsArgs { squeeze_dims: squeeze_dims })
        }
        Operator::StridedSlice { begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask } => table!(
            StridedSliceOptions,
            StridedSliceOptions,
            StridedSliceOptionsArgs {
                begin_mask: *begin_mask,
                end_mask: *end_mask,
                ellipsis_mask: *ellipsis_mask,
                new_axis_mask: *new_axis_mask,
                shrink_axis_mask: *shrink_axis_mask,
            }
        ),
        Operator::Split { parts } => table!(SplitOptions, SplitOptions, SplitOptionsArgs { num_splits: *parts as i32 }),
        Operator::SplitV { parts } => {
            table!(SplitVOptions, SplitVOptions, SplitVOptionsArgs { num_splits: *parts as i32 })
        }
        Operator::Pack { axis } => table!(PackOptions, PackOptions, PackOptionsArgs { axis: *axis }),
        Operator::Unpack { axis } => table!(UnpackOptions, UnpackOptions, UnpackOptionsArgs { axis: *axis }),
        Operator::Concatenation { axis, activation } => table!(
            ConcatenationOptions,
            ConcatenationOptions,
            ConcatenationOptionsArgs { axis: *axis, fused_activation_function: act(*activation) }
        ),
        Operator::CallOnce { graph } => {
            table!(CallOnceOptions, CallOnceOptions, CallOnceOptionsArgs { init_subgraph_index: *graph as i32 })
        }
        Operator::VarHandle { container, name } => {
            let (container, name) = (Some(b.create_string(container)), Some(b.create_string(name)));
            table!(VarHandleOptions, VarHandleOptions, VarHandleOptionsArgs { container: container, shared_name: name })
        }
        _ => (O::NONE, None),
    })
}

fn fused(activation: Activation) -> schema::ActivationFunctionType {
    use schema::ActivationFunctionType as A;
    match activation {
        Activation::None => A::NONE,
        Activation::Relu => A::RELU,
        Activation::Relu6 => A::RELU6,
        Activation::ReluN1To1 => A::RELU_N1_TO_1,
    }
}

fn write_padding(padding: [Padding; 2]) -> Result<schema::Padding, String> {
    match padding {
        [Padding::Same, Padding::Same] => Ok(schema::Padding::SAME),
        [Padding::Valid, Padding::Valid] => Ok(schema::Padding::VALID),
        _ => Err("TFLite has no explicit padding; put a PAD before the operator".into()),
    }
}
