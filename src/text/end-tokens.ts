/**
 * Which tokens end an answer, where a checkpoint names fewer than its model was trained to stop at. Owns nothing.
 * Source: llama.cpp, `src/llama-vocab.cpp`, special end-of-generation ids.
 */

/** Texts of control tokens that end an answer whatever the metadata says. */
const END_TOKEN_TEXTS: ReadonlySet<string> = new Set([
  '<|eot_id|>',
  '<|eom_id|>',
  '<|im_end|>',
  '<|end|>',
  '<|return|>',
  '<|call|>',
  '<|calls|>',
  '<|flush|>',
  '<|endoftext|>',
  '<|end_of_text|>',
  '<end_of_turn>',
  '<turn|>',
  '<|tool_response>',
  '<end_of_utterance>',
  '<｜end▁of▁sentence｜>',
  '<eos>',
  '</s>',
  '<EOT>',
  '_<EOT>',
  '[EOT]',
  '[EOS]',
  '[e~[',
  '<|eot|>',
  '<|eom|>',
  '<|END_OF_TURN_TOKEN|>',
])

/**
 * The ids among `control` that end an answer by their text.
 *
 * @param control - text and id of each control token
 */
export function endsByText(control: Iterable<readonly [text: string, id: number]>): number[] {
  const ends = new Map([...control].filter(([text]) => END_TOKEN_TEXTS.has(text)))
  // With gpt-oss's channels `<|end|>` ends a message, and the answer goes on; so it does in Solar Open.
  const hasCall = ends.has('<|call|>') || ends.has('<|calls|>')
  if (hasCall && (ends.has('<|return|>') || ends.has('<|flush|>'))) ends.delete('<|end|>')
  // Gemma 4 writes HTML's `</s>`.
  if (ends.has('<|tool_response>')) ends.delete('</s>')
  return [...ends.values()]
}
