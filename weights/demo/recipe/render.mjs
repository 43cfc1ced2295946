// Renders the SVG pictures named on stdin (one code point sequence a line) to PNG files of 128 x 128.
import { Resvg } from '@resvg/resvg-js';
import { readFileSync, writeFileSync, mkdirSync } from 'node:fs';

const [assets, out] = process.argv.slice(2);
mkdirSync(out, { recursive: true });
for (const code of readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const svg = readFileSync(`${assets}/${code}.svg`);
  const png = new Resvg(svg, { fitTo: { mode: 'width', value: 128 } }).render().asPng();
  writeFileSync(`${out}/${code}.png`, png);
}
