// Sends the requests of the forms, with the token of the page, and shows the status and body of each response.
'use strict'

const token = document.getElementById('token')

async function send(form) {
  const query = new URLSearchParams()
  const headers = token.value ? { authorization: `Bearer ${token.value}` } : {}
  let path = form.dataset.path
  for (const input of form.querySelectorAll('input[data-in]')) {
    if (!input.value) continue
    if (input.dataset.in === 'path') path = path.replace(`{${input.name}}`, encodeURIComponent(input.value))
    else if (input.dataset.in === 'query') query.append(input.name, input.value)
    else headers[input.name] = input.value
  }
  const options = { method: form.dataset.method, headers }
  const body = form.querySelector('textarea')
  if (body && body.value.trim()) {
    headers['content-type'] = 'application/json'
    options.body = body.value
  }
  const response = await fetch(path + (query.size ? `?${query}` : ''), options)
  const text = await response.text()
  let shown = text
  try { shown = JSON.stringify(JSON.parse(text), null, 2) } catch { /* not JSON: as it is */ }
  return `${response.status} ${response.statusText}\n${shown}`
}

for (const form of document.forms) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    const output = form.querySelector('output')
    output.value = 'sending …'
    try { output.value = await send(form) } catch (error) { output.value = `no response: ${error.message}` }
  })
}
