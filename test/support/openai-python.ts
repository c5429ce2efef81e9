/**
 * A Python interpreter that has the `openai` package: the machine's own, or one in a virtual environment made once under
 * node_modules/.cache. Where neither can be had, the reason, so that a test can skip and say why.
 */

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ENVIRONMENT = fileURLToPath(
  new URL('../../node_modules/.cache/openai-python', import.meta.url),
)
const SCRIPT = fileURLToPath(new URL('../api/openai_client.py', import.meta.url))

export type PythonWithOpenAi = { readonly python: string } | { readonly reason: string }

export async function pythonWithOpenAi(): Promise<PythonWithOpenAi> {
  const made = join(ENVIRONMENT, 'bin', 'python')
  for (const python of ['python3', ...(existsSync(made) ? [made] : [])]) {
    if (await imports(python)) return { python }
  }
  try {
    await run('python3', ['-m', 'venv', ENVIRONMENT])
    await run(made, ['-m', 'pip', 'install', '--quiet', 'openai'], { timeout: 170_000 })
  } catch (error) {
    const reason = String((error as { stderr?: string }).stderr || (error as Error).message)
    return { reason: `the PyPI client cannot be installed: ${reason.trim().split('\n').at(-1)}` }
  }
  return (await imports(made)) ? { python: made } : { reason: 'the PyPI client does not import' }
}

/** Run the scripted conversation; resolves to the names of its steps. @throws Error with the script's output */
export async function converseInPython(
  python: string,
  { baseURL, model }: { baseURL: string; model: string },
): Promise<string[]> {
  try {
    const { stdout } = await run(python, [SCRIPT, baseURL, model], { timeout: 280_000 })
    return (JSON.parse(stdout) as { done: string[] }).done
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    throw new Error(`the Python conversation failed: ${stdout}${stderr}`, { cause: error })
  }
}

async function imports(python: string): Promise<boolean> {
  try {
    await run(python, ['-c', 'import openai'])
    return true
  } catch {
    // Not there, or without the package: the caller tries the next.
    return false
  }
}
