// Requests to the server that made this page.

/** What shows that a request comes from this page; empty where there is no login. */
export function token() {
  const xsrf = document.querySelector('meta[name="xsrf"]')?.content;
  return xsrf ? { "X-XSRF-Token": xsrf } : {};
}

/** POST a form without leaving the page. */
export function post(form) {
  return ask(form.action, { method: "POST", headers: token(), body: new URLSearchParams(new FormData(form)) });
}

/** Fetch; a session that has ended leads to the login. */
export async function ask(url, options) {
  const answer = await fetch(url, options);
  if (answer.status === 401) location.reload();
  return answer;
}
