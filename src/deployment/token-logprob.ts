/** Engine's logprobs of one position with the tokens' text and bytes beside the ids. Knows no dialect. */

import type { Tokenizer } from '../text/tokenizer.ts'
import type { LogprobEntry } from '../worker/messages.ts'
import type { TokenLogprob } from './generation.ts'

export function tokenLogprob(
  tokenizer: Pick<Tokenizer, 'token'>,
  entry: LogprobEntry,
): TokenLogprob {
  const { tokenId, logprob, rank, topIds, topLogprobs } = entry
  const { text, bytes } = tokenizer.token(tokenId)
  const top = topIds.map((topId, index) => {
    const token = tokenizer.token(topId)
    return {
      tokenId: topId,
      text: token.text,
      bytes: token.bytes,
      logprob: topLogprobs[index] ?? Number.NEGATIVE_INFINITY,
    }
  })
  return { tokenId, text, bytes, logprob, rank, top }
}
