/**
 * Which files and members of a Hugging Face folder go on into the quantized one. Pure.
 *
 * C1 Nothing that says how the source's weights were quantized goes on: they are stored otherwise now.
 */

/** Text that stands beside the weights: tokenizer, template, generation settings, licence. */
const TEXT = /\.(?:json|jinja|txt|md|model|spm)$|^(?:LICENSE|NOTICE|USE_POLICY)/i
/** Written anew, or of shards that are no more. */
const OURS = /^config\.json$|\.index\.json$/
/** `quantize_config.json`, `quant_config.json`, `hf_quant_config.json`, `quantization_config.json`, … (C1). */
const QUANTIZATION = /quant.*\.json$/i

export function isCopied(name: string): boolean {
  return TEXT.test(name) && !OURS.test(name) && !QUANTIZATION.test(name)
}

/** `config.json` without what it says of the source's own quantization (C1). */
export function plainConfig(config: object): object {
  const own = new Set(['quantization_config', 'compression_config'])
  return Object.fromEntries(Object.entries(config).filter(([name]) => !own.has(name)))
}
