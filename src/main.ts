/** The process's entry: runs the command line and sets the exit code. Loaded by `bin/ingot.mjs`. */

import { runProgram } from './cli/program.ts'

// Who reads `ingot serve | head -1` has gone away from the output, not from the server.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
}

process.exitCode = await runProgram(process.argv.slice(2))
