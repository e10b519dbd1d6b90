// Write an AsyncAPI document as one HTML page that loads nothing else: node page.js DOCUMENT PAGE
const { readFileSync, writeFileSync } = require('node:fs');

const read = (name) => readFileSync(require.resolve(`@asyncapi/react-component/${name}`), 'utf8');
const [documentFile, pageFile] = process.argv.slice(2);
// Embedded as a string in a script, in which no "<" may begin a tag.
const text = JSON.stringify(readFileSync(documentFile, 'utf8')).replaceAll('<', '\\u003c');
const config = JSON.stringify({ show: { sidebar: true }, sidebar: { showOperations: 'byDefault' } });

writeFileSync(pageFile, `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Topics and messages</title>
<style>${read('styles/default.min.css')} body { margin: 0 }</style>
<div id="page"></div>
<script>${read('browser/standalone/index.js')}</script>
<script>AsyncApiStandalone.render({ schema: ${text}, config: ${config} }, document.getElementById('page'));</script>
</html>
`);
