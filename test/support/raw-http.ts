/** A bare socket that speaks HTTP/1.1, for tests that look at bytes, hang up, or do not read. */

import { connect, type Socket } from 'node:net'

export class RawConnection {
  readonly socket: Socket
  text = ''
  isClosed = false
  /** Text of each read, in order: how the bytes came. */
  readonly reads: string[] = []

  constructor(baseUrl: string) {
    const { hostname, port } = new URL(baseUrl)
    this.socket = connect(Number(port), hostname)
    this.socket.setNoDelay(true)
    this.socket.on('data', (data) => {
      this.text += data.toString('utf8')
      this.reads.push(data.toString('utf8'))
    })
    this.socket.on('error', () => {})
    this.socket.on('close', () => {
      this.isClosed = true
    })
  }

  post(path: string, body: object): void {
    const json = JSON.stringify(body)
    this.socket.write(
      `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(json)}\r\n\r\n${json}`,
    )
  }

  /** Everything up to the blank line. */
  get head(): string {
    return this.text.split('\r\n\r\n')[0] ?? ''
  }

  get hasHead(): boolean {
    return this.text.includes('\r\n\r\n')
  }

  hangUp(): void {
    this.socket.destroy()
  }
}

/** A gate that lets steps of a fake model through one by one. */
export class Gate {
  #waiting: (() => void)[] = []
  #numOpen = 0

  /** For `FakeScript.pace`. */
  readonly pass = (): Promise<void> => {
    if (this.#numOpen > 0) {
      this.#numOpen -= 1
      return Promise.resolve()
    }
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  get numWaiting(): number {
    return this.#waiting.length
  }

  open(numSteps = 1): void {
    for (let step = 0; step < numSteps; step += 1) {
      const next = this.#waiting.shift()
      if (next === undefined) this.#numOpen += 1
      else next()
    }
  }
}
