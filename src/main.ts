/** The process's entry: runs the command line and sets the exit code. Loaded by `bin/ingot.mjs`. */

import { runProgram } from './cli/program.ts'

process.exitCode = await runProgram(process.argv.slice(2))
