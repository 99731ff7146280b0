// The description of the API for people. Nothing of it comes from another host.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  validatorUrl: null, // it would send the description to somebody else
  persistAuthorization: false, // a key is not kept in the browser
});
