/**
 * The process's own log: pino, one JSON object a line on standard error. Buffered, so that a slow terminal or pipe does
 * not hold the event loop; `close` writes what is left.
 */

import { type Logger, pino } from 'pino'
import type { LogConfig } from '../config/runtime-config.ts'

export interface LogSink {
  readonly logger: Logger
  close(): Promise<void>
}

const STANDARD_ERROR = 2

export function openLog({ level }: LogConfig): LogSink {
  const destination = pino.destination({ dest: STANDARD_ERROR, sync: false })
  const logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination)
  return {
    logger,
    close: () =>
      new Promise((resolve) => {
        // An error here means that nobody reads standard error any more; there is no place left to say so.
        destination.flush(() => resolve())
      }),
  }
}
