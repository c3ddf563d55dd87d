import { svelte } from '@sveltejs/vite-plugin-svelte'
import { fileURLToPath } from 'node:url'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { join } from 'node:path'
import { defineConfig, type Plugin } from 'vite'

const out = fileURLToPath(new URL('../src/headrace/console/static', import.meta.url))

/** Each text asset also compressed, so that the server only hands it out. */
function precompressed(): Plugin {
  return {
    name: 'precompressed',
    closeBundle() {
      for (const file of readdirSync(join(out, 'assets'))) {
        if (!/\.(js|css|svg|json)$/.test(file)) continue
        const path = join(out, 'assets', file)
        writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }))
      }
    },
  }
}

/** What every page uses comes as one file: thirty small ones take a browser longer than a few bytes that a page does not need. */
const common = /\/web\/src\/lib\/(?!echarts|components\/CodeEditor)|\/node_modules\/(svelte|@lucide)\//

export default defineConfig({
  plugins: [svelte(), precompressed()],
  build: { outDir: out, emptyOutDir: true, target: 'es2022', modulePreload: { polyfill: false }, chunkSizeWarningLimit: 700, assetsInlineLimit: 0, reportCompressedSize: false, rolldownOptions: { output: { codeSplitting: { groups: [{ name: 'common', test: common }] } } } },
})
