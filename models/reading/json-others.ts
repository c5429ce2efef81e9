/**
 * The end of reading a `config.json`: what is left may not change the mathematics.
 */

import type { ConfigKeys } from './config-keys.ts'
import { NOT_COMPUTED } from './json-members.ts'

/** @param unused - members that this architecture's own computation does not read */
export function refuseOtherJson(keys: ConfigKeys, unused: readonly string[] = []): void {
  keys.ignore('model_type') // the registry's
  keys.neutral('pretraining_tp', [1])
  keys.neutral('rope_interleaved', [false])
  keys.neutral('is_encoder_decoder', [false])
  keys.neutral('add_cross_attention', [false])
  keys.neutral('use_bidirectional_attention', [false])
  if (!keys.wasRead('sliding_window')) keys.neutral('sliding_window', [])
  keys.refuseUnread([...NOT_COMPUTED, ...unused])
}
