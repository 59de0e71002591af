#!/usr/bin/env node
import { run } from './program.ts'

// Who reads our output may go before we are done, as `head` does: then there is nobody to write for.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

const { stdin, stdout, stderr, env, argv } = process
process.exitCode = await run(argv.slice(2), { stdin, stdout, stderr, env })
