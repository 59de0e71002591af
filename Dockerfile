FROM node:20-slim AS build
WORKDIR /app
COPY . .
RUN npm ci && npm run build && npm prune --omit=dev && \
    npm install --no-save aedes@1.2.0 ws@8.23.0 pino@10.4.0 ioredis@5.11.1 aedes-persistence-redis@11.2.2

FROM node:20-slim
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build /app/src ./src
COPY --from=build /app/config ./config
USER node
ENTRYPOINT ["node", "dist/src/cli/main.js"]
CMD ["broker", "--policy", "config/fleet.yaml", "--host", "0.0.0.0", "--health", "8081"]
