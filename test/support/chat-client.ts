/** A bare client of the chat route, for tests that look at bytes and at what happens when connections break. */

export interface ChatBody {
  readonly model: string
  readonly messages: readonly { readonly role: string; readonly content: string }[]
  readonly max_tokens: number
  readonly temperature?: number
  readonly seed?: number
  readonly stream?: boolean
}

export interface StreamedAnswer {
  readonly text: string
  readonly finishReason: string | null
  /** The error event that ended it. */
  readonly error: {
    readonly message: string
    readonly code: string | null
    readonly type: string
  } | null
  readonly isDone: boolean
  readonly numChunks: number
}

interface Frame {
  readonly choices?: readonly {
    readonly delta?: { readonly content?: string | null }
    readonly finish_reason?: string | null
  }[]
  readonly error?: StreamedAnswer['error']
}

export async function ask(url: string, body: ChatBody, signal?: AbortSignal): Promise<string> {
  const response = await post(url, { ...body, stream: false }, signal)
  const answer = (await response.json()) as { choices: { message: { content: string } }[] }
  if (!response.ok) throw new Error(`status ${response.status}: ${JSON.stringify(answer)}`)
  return answer.choices[0]?.message.content ?? ''
}

/** @param onChunk - called after each frame with the number of frames so far */
export async function askStreamed(
  url: string,
  body: ChatBody,
  options: { readonly signal?: AbortSignal; readonly onChunk?: (numChunks: number) => void } = {},
): Promise<StreamedAnswer> {
  const response = await post(url, { ...body, stream: true }, options.signal)
  if (!response.ok || response.body === null) {
    throw new Error(`status ${response.status}: ${await response.text()}`)
  }
  let text = ''
  let finishReason: string | null = null
  let error: StreamedAnswer['error'] = null
  let isDone = false
  let numChunks = 0
  let rest = ''
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    const events = (rest + piece).split('\n\n')
    rest = events.pop() ?? ''
    for (const event of events) {
      const data = /^data: (.*)$/m.exec(event)?.[1]
      if (data === undefined) continue
      if (data === '[DONE]') {
        isDone = true
        continue
      }
      const frame = JSON.parse(data) as Frame
      error = frame.error ?? error
      text += frame.choices?.[0]?.delta?.content ?? ''
      finishReason = frame.choices?.[0]?.finish_reason ?? finishReason
      numChunks += 1
      options.onChunk?.(numChunks)
    }
  }
  return { text, finishReason, error, isDone, numChunks }
}

function post(url: string, body: ChatBody, signal?: AbortSignal): Promise<Response> {
  return fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal === undefined ? {} : { signal }),
  })
}
