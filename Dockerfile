# CPU image. Weights are not in it: they land in the volume /var/lib/ingot on first start.
# Build: docker build -t ingot .    Run: docker compose up

FROM rust:1.95-bookworm AS rust

FROM node:22-bookworm AS build
COPY --from=rust /usr/local/cargo /usr/local/cargo
COPY --from=rust /usr/local/rustup /usr/local/rustup
ENV PATH=/usr/local/cargo/bin:$PATH CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup CARGO_TARGET_DIR=/tmp/cargo-target
WORKDIR /opt/ingot
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY . .
RUN npm run build && npm prune --omit=dev --no-audit --no-fund

FROM node:22-bookworm-slim
ENV NODE_ENV=production INGOT_HOME=/var/lib/ingot INGOT_HOST=0.0.0.0
WORKDIR /opt/ingot
COPY --from=build /opt/ingot/package.json ./
COPY --from=build /opt/ingot/node_modules ./node_modules
COPY --from=build /opt/ingot/dist ./dist
COPY --from=build /opt/ingot/native/ingot.node ./native/ingot.node
COPY --from=build /opt/ingot/models/catalog ./models/catalog
RUN mkdir -p /var/lib/ingot && chown node:node /var/lib/ingot
USER node
VOLUME /var/lib/ingot
EXPOSE 8000
STOPSIGNAL SIGTERM
# The first start fetches the model, so health may take a while to come.
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.INGOT_PORT || 8000}/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "dist/app/main.js"]
CMD ["serve"]
