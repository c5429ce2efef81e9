import { expect, it } from 'vitest'
import { profileText } from '../../../src/cli/bench-profile.ts'
import { runProgram } from '../../../src/cli/program.ts'

it('orders operators by their time and names what is left between them', () => {
  const times = [
    { operator: 'Linear', detail: '576 → 960', calls: 4, microseconds: 300 },
    { operator: 'PagedAttention', detail: '', calls: 2, microseconds: 500 },
    { operator: 'step', detail: '', calls: 2, microseconds: 1000 },
  ]
  const profile = {
    name: 'prompt',
    numSeqs: 1,
    promptTokens: 512,
    outputTokens: 1,
    steps: 2,
    times,
  }
  expect(profileText([profile], 'avx2, 2 threads')).toBe(
    [
      'prompt: 1 sequence, prompts of 512 tokens, 2 steps, 0.500 ms a step (avx2, 2 threads)',
      '  operator           calls  ms a step  µs a call   share',
      '  PagedAttention         2      0.250      250.0  50.0 %',
      '  Linear 576 → 960       4      0.150       75.0  30.0 %',
      '  between operators      6      0.100       33.3  20.0 %',
    ].join('\n'),
  )
})

it('refuses a number of tokens that is none', async () => {
  expect(await runProgram(['bench', 'profile', 'nowhere', '--prompt', '0'])).toBe(1)
})
